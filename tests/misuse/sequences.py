"""Data in another order of axes, of other sizes, or of one step where many are asked for."""

import jax.numpy as jnp
import optax

from .case import accepted, wrong
from .network import B, etr, F, H, LABELS, learner, loss_step, N, ONLINE, SPIKING, spiking, T, trace, weights, X, XS

KIND = "data of another shape"


@wrong(KIND, ValueError, found="input 0 [5, 2], input 1 [5]", do="swapaxes", why="time", where="`spiking_step`")
def a_batch_first_into_a_learner():
    one, learning = learner()
    return one.scan(learning, jnp.ones((B, T, F)), jnp.zeros((B, T), int))


@wrong(KIND, ValueError, found="[5, 2]", do="swapaxes", why="time", where="`loss_step`")
def a_batch_first_into_scan():
    return ONLINE.scan(weights(), H, trace(), jnp.ones((B, T, F)))


@wrong(KIND, ValueError, found="[7]", do=".init(", why="[2]")
def too_many_channels_into_a_learner():
    one, learning = learner()
    return one.scan(learning, jnp.ones((T, F + 5)), LABELS)


@wrong(KIND, ValueError, found="[7]", do=".init(", why="[2]", where="`loss_step`")
def too_many_channels_into_scan():
    return ONLINE.scan(weights(), H, trace(), jnp.ones((T, F + 5)))


@wrong(KIND, ValueError, found="[7]", do=".init(", why="[2]", where="`loss_step`")
def too_many_channels_into_a_call():
    return ONLINE(weights(), H, trace(), jnp.ones(F + 5))


@wrong(KIND, ValueError, found="[5, 2]", do=".scan", where="`loss_step`")
def a_sequence_into_a_call():
    return ONLINE(weights(), H, trace(), XS)


@wrong(KIND, ValueError, found="[5, 2]", do=".scan", where="`spiking_step`")
def a_sequence_into_a_call_of_a_learner():
    one, learning = learner()
    return one(learning, XS, LABELS)


@wrong(KIND, TypeError, found="[5, 2]", do="one step", where="`loss_step`", why="of length 5")
def a_sequence_into_init():
    return ONLINE.init(weights(), H, XS)


@wrong(KIND, TypeError, found="[5, 2]", do="one step", where="`spiking_step`", why="of length 5")
def a_sequence_into_init_of_a_learner():
    one, learning = learner()
    return one.init(learning.model, learning.state, XS, LABELS)


@wrong(KIND, ValueError, found="input 0 []", do="x[None]", where="`loss_step`")
def one_step_into_scan():
    return ONLINE.scan(weights(), H, trace(), X)


@wrong(KIND, ValueError, found="[6]", do="one length", why="[5, 2]")
def labels_of_another_length():
    one, learning = learner()
    return one.scan(learning, XS, jnp.zeros(T + 1, int))


@wrong(KIND, ValueError, found="scalar", do="leading time axis")
def one_label_for_the_whole_sequence():
    one, learning = learner()
    return one.scan(learning, XS, LABELS[0])


@wrong(
    KIND,
    TypeError,
    found="float32[4, 2]",
    do="map over both with `jax.vmap`",
    why="of length 4",
    where="`spiking_step`",
)
def a_batch_without_a_batch_of_states():
    model, state, _ = spiking()
    return SPIKING.init(model, state, jnp.ones((B, F)), jnp.zeros(B, int))


@wrong(KIND, ValueError, found="input 1 []", do="pass inputs of those shapes", where="`spiking_step`")
def a_forgotten_label():
    model, state, before = spiking()
    return SPIKING(model, state, before, X)


@wrong(KIND, TypeError, found="float32[4]", why="('w',): float32[3]", do="for these sizes", where="(loss_step)")
def a_state_of_another_size():
    return ONLINE.init(weights(), jnp.zeros(N + 1), X)


@wrong(KIND, ValueError, found="5 steps", do="Take 4")
def a_sequence_that_every_does_not_divide():
    one = etr.OnlineLearner(ONLINE, optax.sgd(0.1), every=2)
    return one.scan(one.init(weights(), H, X), XS)


@wrong(KIND, ValueError, found="`list`", do="jnp.stack", where="`loss_step`", why="inputs[0] is a `list` of 5 arrays")
def a_list_of_steps_into_scan():
    return ONLINE.scan(weights(), H, trace(), [X] * T)


@wrong(KIND, ValueError, found="no array", do="leading time axis")
def no_inputs_into_scan():
    return ONLINE.scan(weights(), H, trace())


@wrong(KIND, ValueError, found="[4, 3]", do="init", why="[3]")
def restarted_with_a_batch():
    one = etr.OnlineLearner(ONLINE, optax.sgd(0.1))
    return one.restart(one.init(weights(), H, X), jnp.zeros((B, N)))


@wrong(KIND, ValueError, found="bool[3]", do="jax.vmap", why="one flag")
def restarted_by_a_flag_for_each_unit():
    one = etr.OnlineLearner(ONLINE, optax.sgd(0.1))
    return one.restart(one.init(weights(), H, X), H, jnp.asarray([True] * N))


@wrong(KIND, ValueError, found="bool[4]", do="jax.vmap", why="one flag")
def emptied_by_a_flag_for_each_lane():
    return trace().emptied(jnp.asarray([True] * B))


@wrong(KIND, TypeError, found="float32[]", do="where != 0", why="one flag")
def emptied_by_a_float():
    return trace().emptied(jnp.asarray(1.0))


@accepted(KIND)
def a_sequence_of_one_step():
    (losses, _), state, _ = ONLINE.scan(weights(), H, trace(), XS[:1])
    loss, right = loss_step(weights(), H, X)
    return jnp.concatenate([losses, state]), jnp.concatenate([loss[None], right])
