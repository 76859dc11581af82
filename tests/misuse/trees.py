"""Models and states of what is no array and no pytree; parameters that do not exist."""

import dataclasses
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from .case import accepted, wrong
from .network import etr, F, H, loss_step, N, ONLINE, trace, weights, X

KIND, PARAMETER, CLOSED = "no arrays, no pytrees", "rules by parameter", "traces of something else"


@dataclasses.dataclass
class Plain:
    """A dataclass that is no pytree."""

    W: Any
    w: Any


def attribute_step(m: Any, h: Any, x: Any) -> Any:
    return loss_step({"W": m.W, "w": m.w}, h, x)


ATTRIBUTES = etr.etrace_grad(attribute_step, etr.DRTRL())


@wrong(KIND, ValueError, found="`Plain`", do="equinox.Module", why="pytree", where="`attribute_step`")
def a_dataclass_as_the_model():
    return ATTRIBUTES.init(Plain(**weights()), H, X)


@wrong(KIND, ValueError, found="`Plain`", do="equinox.Module", why="pytree", where="`step`")
def a_dataclass_as_the_state():
    def step(m, s, x):
        loss, h = loss_step(m, s.w, x)
        return loss, Plain(s.W, h)

    return etr.etrace_grad(step, etr.DRTRL()).init(weights(), Plain(H, H), X)


@wrong(KIND, ValueError, found="`Plain`", do="equinox.Module", why="pytree", where="`step`")
def a_dataclass_inside_the_state():
    def step(m, s, x):
        loss, h = loss_step(m, s["h"], x)
        return loss, {"h": h, "more": Plain(h, h)}

    return etr.etrace_grad(step, etr.DRTRL()).init(weights(), {"h": H, "more": Plain(H, H)}, X)


@wrong(KIND, ValueError, found="`Plain`", do="equinox.Module", why="pytree", where="`step`")
def a_dataclass_inside_the_model():
    def step(m, h, x):
        h = m["bias"] + jnp.tanh(m["plain"].w * h + m["plain"].W @ x)
        return jnp.sum(h), h

    return etr.etrace_grad(step, etr.DRTRL()).init({"plain": Plain(**weights()), "bias": H}, H, X)


@wrong(KIND, ValueError, found="0.5", do="jnp.asarray", where="`step`")
def a_list_of_floats_as_the_state():
    def step(m, h, x):
        loss, h = loss_step(m, jnp.stack([jnp.asarray(v) for v in h]), x)
        return loss, list(h)

    return etr.etrace_grad(step, etr.DRTRL()).init(weights(), [0.5, 0.5, 0.5], X)


@wrong(KIND, ValueError, found="0.1", do="jnp.asarray", where="`loss_step`")
def nested_lists_as_the_model():
    return ONLINE.init({"W": [[0.1, 0.1]] * N, "w": [0.5] * N}, H, X)


@wrong(KIND, ValueError, found="function", do="inexact", where="`step`")
def a_function_as_the_model():
    def step(m, h, x):
        h = m(h + x[0])
        return jnp.sum(h), h

    return etr.etrace_grad(step, etr.DRTRL()).init(jnp.tanh, H, X)


@wrong(KIND, ValueError, found="no hidden state", do="array", where="`loss_step`")
def a_string_as_the_state():
    return ONLINE.init(weights(), "zeros", X)


@wrong(KIND, ValueError, found="leaves are none", do="jax.grad", where="`loss_step`")
def no_state_at_all():
    return ONLINE.init(weights(), None, X)


@wrong(KIND, TypeError, found="object", do="jnp.asarray", where="`loss_step`")
def an_array_of_objects_as_the_state():
    return ONLINE.init(weights(), np.array([0.1, 0.2, 0.3], object), X)


@wrong(KIND, TypeError, found="list", do="jnp.asarray", where="`loss_step`")
def a_list_as_the_input():
    return ONLINE.init(weights(), H, [1.0, 1.0])


@wrong(KIND, ValueError, found="generator", do="first argument of the step")
def a_generator_as_the_model():
    return ONLINE.init((w for w in weights().values()), H, X)


@wrong(KIND, TypeError, found="[1.0, 2.0]", do="jnp.asarray")
def a_list_as_a_time_constant():
    return etr.nn.LIF(tau=[1.0, 2.0])


@wrong(KIND, TypeError, found="'20'", do="number")
def a_string_as_a_time_constant():
    return etr.nn.LIF(tau="20")


@wrong(KIND, ValueError, found="-1.0", do="longer than zero")
def a_negative_time_constant():
    return etr.nn.CuBaLIF(tau_syn=-1.0)


@wrong(KIND, TypeError, found="tuple", do="array")
def feedback_that_is_a_list():
    return etr.nn.FeedbackLinear(jnp.ones((2, N)), ((1.0, 2.0),) * N)


@accepted(KIND)
def numpy_arrays_as_model_and_state():
    numpy = {name: np.asarray(w) for name, w in weights().items()}
    (loss, grads), h, _ = ONLINE(numpy, np.zeros(N, np.float32), trace(), np.ones(F, np.float32))
    (same, right), h_right, _ = ONLINE(weights(), H, trace(), X)
    return [loss, *grads["w"], *h], [same, *right["w"], *h_right]


@wrong(PARAMETER, KeyError, found="asked for the rule of ('w',)", do="('w',), ('W',)")
def a_rule_for_a_parameter_that_does_not_exist():
    rules = {("V",): etr.DRTRL()}
    return etr.etrace_grad(loss_step, lambda relation: rules[relation.path]).init(weights(), H, X)


@wrong(PARAMETER, TypeError, found="('W',)", do="lambda relation")
def a_dict_of_rules():
    return etr.etrace_grad(loss_step, {("W",): etr.DRTRL(), ("w",): etr.NoTrace()})


@wrong(PARAMETER, TypeError, found="None", do="`NoTrace()`")
def no_rule_for_one_parameter():
    def choose(relation):
        return etr.DRTRL() if relation.path == ("W",) else None

    return etr.etrace_grad(loss_step, choose).init(weights(), H, X)


@wrong(PARAMETER, TypeError, found="[DRTRL(), NoTrace()]", do="DRTRL()")
def a_list_of_rules():
    return etr.etrace_grad(loss_step, [etr.DRTRL(), etr.NoTrace()])


@wrong(PARAMETER, TypeError, found="'W'", do="relation.path")
def a_function_of_two_arguments():
    def by_name(path, leaf):
        return etr.DRTRL() if path == "W" else etr.NoTrace()

    return etr.etrace_grad(loss_step, by_name).init(weights(), H, X)


@wrong(CLOSED, ValueError, found="PPProp", do=".init(", why="DRTRL")
def a_trace_of_another_rule():
    before = etr.etrace_value_and_grad(loss_step, etr.PPProp(0.9)).init(weights(), H, X)
    return ONLINE(weights(), H, before, X)


@wrong(CLOSED, ValueError, found="float32[4", do=".init(", why="float32[3")
def a_trace_of_a_larger_model():
    before = ONLINE.init(weights(N + 1), jnp.zeros(N + 1), X)
    return ONLINE(weights(), H, before, X)


@wrong(CLOSED, ValueError, found="another", do=".init(")
def a_trace_of_another_step():
    def other(m, h, x):
        h = jnp.tanh(h + m["W"] @ x)
        return jnp.sum(h * m["w"]), h

    before = etr.etrace_value_and_grad(other, etr.DRTRL()).init(weights(), H, X)
    return ONLINE(weights(), H, before, X)


@wrong(CLOSED, ValueError, found="moments", do="init")
def moments_of_another_optimiser():
    import optax

    adam, sgd = (etr.OnlineLearner(ONLINE, make(0.1)) for make in (optax.adam, optax.sgd))
    return sgd(adam.init(weights(), H, X), X)


@wrong(CLOSED, TypeError, found="dict", do=".init")
def the_numbers_of_a_trace_in_place_of_it():
    return ONLINE(weights(), H, {"values": trace().values}, X)


@wrong(CLOSED, ValueError, found="float16", do=".init(")
def a_trace_that_was_cast():
    import jax

    half = jax.tree.map(lambda e: e.astype(jnp.float16), trace())
    return ONLINE(weights(), H, half, X)


@wrong(KIND, TypeError, found="Linear", do="init_state")
def a_layer_in_place_of_its_state():
    layer = eqx.nn.Linear(F, N, key=__import__("jax").random.key(0))
    return etr.nn.LIF()(jnp.ones(N), layer)
