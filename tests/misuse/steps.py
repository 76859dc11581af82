"""Steps that do not return what they must, keep something outside, or close over the model."""

from typing import Any

import jax
import jax.numpy as jnp

from .case import accepted, wrong
from .network import etr, F, H, loss_step, N, ONLINE, weights, X

KIND, AWAY = "what the step returns", "what the step closes over"


def cell(m: Any, h: Any, x: Any) -> Any:
    return jnp.tanh(m["w"] * h + m["W"] @ x)


def made(step: Any, rule: Any = None, **kwargs: Any) -> Any:
    return etr.etrace_value_and_grad(step, etr.PPProp(0.9) if rule is None else rule, **kwargs).init(weights(), H, X)


@wrong(KIND, TypeError, found="float32[]", do="(out, new_state)", where="(steps.py:")
def a_step_that_forgets_its_state():
    def forgetful(m, h, x):
        return jnp.sum(cell(m, h, x))

    return made(forgetful)


@wrong(KIND, TypeError, found="None", do="(out, new_state)", where="`silent`")
def a_step_that_returns_nothing():
    def silent(m, h, x):
        cell(m, h, x)

    return made(silent)


@wrong(KIND, ValueError, found="wrong way round", do="(out, new_state)", where="`reversed_step`")
def a_step_that_returns_the_state_first():
    def reversed_step(m, h, x):
        h = cell(m, h, x)
        return h, jnp.sum(h)

    return made(reversed_step)


@wrong(KIND, ValueError, found="wrong way round", do="(out, new_state)", where="`reversed_step`")
def a_step_that_returns_a_tree_of_states_first():
    def reversed_step(m, s, x):
        h = cell(m, s["h"], x)
        return {"h": h}, jnp.sum(h)

    return etr.etrace_value_and_grad(reversed_step, etr.DRTRL()).init(weights(), {"h": H}, X)


@wrong(KIND, TypeError, found="list of 2", do="(out, new_state)", where="`listed`")
def a_step_that_returns_a_list():
    def listed(m, h, x):
        h = cell(m, h, x)
        return [jnp.sum(h), h]

    return made(listed)


@wrong(KIND, TypeError, found="tuple of 3", do="has_aux", where="`telling`")
def a_step_that_returns_three():
    def telling(m, h, x):
        h = cell(m, h, x)
        return jnp.sum(h), h, h

    return made(telling)


@wrong(KIND, ValueError, found="old state", do="(out, new_state)", why="never changes", where="`standing`")
def a_step_that_returns_the_old_state():
    def standing(m, h, x):
        new = cell(m, h, x)
        return jnp.sum(new), h

    return made(standing)


@wrong(KIND, TypeError, found="(3,)", do="jnp.mean", where="`unreduced`")
def a_loss_for_each_unit():
    def unreduced(m, h, x):
        h = cell(m, h, x)
        return h, h

    return made(unreduced)


@wrong(KIND, TypeError, found="has_aux", do="((out, aux), new_state)", where="`loss_step`")
def has_aux_without_an_aux():
    return made(loss_step, has_aux=True)


@wrong(KIND, TypeError, found="2 leaves", do="has_aux=True", where="`with_more`")
def an_aux_without_has_aux():
    def with_more(m, h, x):
        h = cell(m, h, x)
        return (jnp.sum(h), h), h

    return made(with_more)


@wrong(KIND, TypeError, found="bool", do="has_aux=True")
def has_aux_that_is_a_function():
    return etr.etrace_grad(loss_step, etr.DRTRL(), has_aux=loss_step)


@wrong(KIND, ValueError, found="structure", do="old one", where="`other_tree`")
def a_state_of_another_structure():
    def other_tree(m, h, x):
        h = cell(m, h, x)
        return jnp.sum(h), {"h": h}

    return made(other_tree)


@wrong(KIND, TypeError, found="float16", do="cast", where="`halved`")
def a_state_of_another_dtype():
    def halved(m, h, x):
        h = cell(m, h, x)
        return jnp.sum(h), h.astype(jnp.float16)

    return made(halved)


@wrong(KIND, jax.errors.TracerBoolConversionError, found="boolean conversion", do="jnp.where", where="(branching)")
def a_python_if_on_a_value():
    def branching(m, h, x):
        h = cell(m, h, x)
        return (jnp.sum(h) if h[0] > 0 else jnp.sum(-h)), h

    return made(branching)


@wrong(KIND, jax.errors.ConcretizationTypeError, found="`float`", do="jax.debug.print", where="(logging)")
def a_float_of_a_value():
    def logging(m, h, x):
        h = cell(m, h, x)
        return jnp.sum(h) * float(h[0]), h

    return made(logging)


@wrong(KIND, jax.errors.TracerArrayConversionError, found="__array__", do="jax.numpy", where="(numpy_step)")
def numpy_inside_the_step():
    import numpy as np

    def numpy_step(m, h, x):
        h = jnp.asarray(np.tanh(m["w"] * h + m["W"] @ x))
        return jnp.sum(h), h

    return made(numpy_step)


@wrong(KIND, TypeError, found="generator", do="return", where="`yielding`")
def a_step_that_yields():
    def yielding(m, h, x):
        h = cell(m, h, x)
        yield jnp.sum(h), h

    return made(yielding)


@wrong(KIND, ValueError, found="nothing to train", do="first argument", where="`loss_step`")
def nothing_to_train():
    return ONLINE.init({"W": jnp.ones((N, F), int), "w": jnp.ones(N, int)}, H, X)


@wrong(
    AWAY,
    ValueError,
    found="closes over `model`",
    do="first argument of the step",
    where="`closed`",
    why="every gradient would be zero",
)
def a_step_that_closes_over_its_model():
    model = weights()

    def closed(m, h, x):
        h = cell(model, h, x)
        return jnp.sum(h), h

    return made(closed)


@wrong(AWAY, ValueError, found="float32[3, 2]", do="as an input")
def a_mask_that_another_trace_had():
    def masked(mask):
        def step(m, h, x):
            return loss_step({"W": mask * m["W"], "w": m["w"]}, h, x)

        return etr.etrace_grad(step, etr.PPProp(0.9))

    before = masked(jnp.ones((N, F))).init(weights(), H, X)
    return masked(jnp.zeros((N, F)))(weights(), H, before, X)


@wrong(
    AWAY, ValueError, found="('W',)", do="array among the inputs", why="a number or an index that stands in the step"
)
def a_number_that_another_trace_had():
    def scaled(number):
        def step(m, h, x):
            return loss_step({"W": number * m["W"], "w": m["w"]}, h, x)

        return etr.etrace_grad(step, etr.PPProp(0.9))

    before = scaled(0.5).init(weights(), H, X)
    return scaled(0.25)(weights(), H, before, X)


@wrong(AWAY, ValueError, found="no hidden state", do="jax.grad", where="`stateless`")
def a_state_kept_outside_of_the_step():
    kept = [H]

    def stateless(m, h, x):
        kept[0] = cell(m, kept[0], x)
        return jnp.sum(kept[0]), h

    return etr.etrace_grad(stateless, etr.PPProp(0.9)).init(weights(), None, X)


@wrong(AWAY, jax.errors.UnexpectedTracerError, found="kept outside", do="second argument", where="`keeping`")
def a_state_kept_outside_from_call_to_call():
    kept = [H]

    def keeping(m, h, x):
        kept[0] = cell(m, kept[0], x)
        return jnp.sum(kept[0]), h + 0 * x[0]

    online = etr.etrace_grad(keeping, etr.DRTRL())
    before = online.init(weights(), H, X)
    return online(weights(), H, before, X)


@accepted(AWAY)
def a_step_that_closes_over_its_input():
    def step_on(x):
        return etr.etrace_value_and_grad(lambda m, h: loss_step(m, h, x), etr.DRTRL())

    m, h, before = weights(), H, step_on(X).init(weights(), H)
    for x in (X, 2 * X):
        (_, grads), h, before = step_on(x)(m, h, before)

    def total(m):
        return loss_step(m, loss_step(m, H, X)[1], 2 * X)[0]

    return grads["W"], jax.grad(total)(m)["W"]
