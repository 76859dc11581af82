"""Integers where floats are needed, numbers where keys are, decays and windows that are none."""

import jax
import jax.numpy as jnp
import numpy as np

from .case import accepted, wrong
from .network import etr, F, H, loss_step, N, ONLINE, trace, weights, X, XS

INTEGERS, KEYS, DECAYS, COUNTS = "integers for floats", "random keys", "decays", "windows and counts"


@accepted(INTEGERS)
def integer_currents():
    """Counts of spikes, say."""
    whole, floats = (etr.nn.LIF()(jnp.ones(N, kind), etr.nn.LIF().init_state(N))[1].V for kind in (int, float))
    return whole, floats


@wrong(INTEGERS, TypeError, found="int32", do="float32")
def init_state_of_integers():
    return etr.nn.LIF().init_state(N, jnp.int32)


@wrong(INTEGERS, ValueError, found="int32", do="cast", where="`loss_step`")
def an_integer_state():
    return ONLINE.init(weights(), jnp.zeros(N, int), X)


@wrong(INTEGERS, TypeError, found="int32", do="float", where="`loss_of_integers`")
def an_integer_loss():
    def loss_of_integers(m, h, x):
        loss, h = loss_step(m, h, x)
        return (loss > 0).astype(int), h

    return etr.etrace_grad(loss_of_integers, etr.DRTRL()).init(weights(), H, X)


@wrong(INTEGERS, TypeError, found="one-hot", do="integer")
def one_hot_labels():
    return etr.losses.cross_entropy(jnp.zeros((4, 2)), jnp.zeros((4, 2)))


@wrong(INTEGERS, TypeError, found="int32", do="float")
def logits_that_are_counts():
    return etr.losses.cross_entropy(jnp.zeros((4, 2), int), jnp.zeros(4, int))


@wrong(INTEGERS, TypeError, found="uint8", do="x / 255")
def an_image_of_bytes():
    return etr.encode.rate(jax.random.key(0), jnp.ones((2, 2), jnp.uint8), 4)


@wrong(INTEGERS, TypeError, found="int32", do="float")
def integer_spikes_for_a_distance():
    return etr.losses.VanRossum(10.0)(jnp.ones(N, int), jnp.ones(N), jnp.zeros(N))


@accepted(INTEGERS)
def integer_inputs_of_a_layer():
    """Spikes as integers: the weights make floats of them."""
    (loss, _), _, _ = ONLINE(weights(), H, ONLINE.init(weights(), H, jnp.ones(F, int)), jnp.ones(F, int))
    return loss, loss_step(weights(), H, X)[0]


@accepted(INTEGERS)
def an_integer_time_constant():
    return etr.nn.LIF(tau=20)(jnp.ones(N), etr.nn.LIF().init_state(N))[1].V, (1 - np.exp(-1 / 20)) * 20 * np.ones(N)


@wrong(KEYS, TypeError, found="0", do="jax.random.key(0)")
def a_number_as_the_key_of_a_rule():
    return etr.UORO(0)


@wrong(KEYS, TypeError, found="0", do="jax.random.key(0)")
def a_number_as_the_key_of_a_cell():
    return etr.nn.RNNCell(F, N, key=0)


@wrong(KEYS, TypeError, found="0", do="jax.random.key(0)")
def a_number_as_the_key_of_a_readout():
    return etr.nn.LeakyRateReadout(F, N, key=0)


@wrong(KEYS, TypeError, found="0", do="jax.random.key(0)")
def a_number_as_the_key_of_a_memory():
    return etr.nn.MLSTMCell(F, N, N, key=0)


@wrong(KEYS, TypeError, found="7", do="jax.random.key(7)")
def a_number_as_the_key_of_an_encoder():
    return etr.encode.rate(7, jnp.ones(N), 4)


@wrong(KEYS, TypeError, found="[3]", do="one random key")
def many_keys_in_place_of_one():
    return etr.KFRTRL(jax.random.split(jax.random.key(0), 3))


@wrong(KEYS, TypeError, found="[3]", do="one random key")
def many_keys_for_a_cell():
    return etr.nn.LRUCell(F, N, N, key=jax.random.split(jax.random.key(0), 3))


@wrong(KEYS, TypeError, found="float32[2]", do="jax.random.key(0)")
def floats_as_a_key():
    return etr.nn.Projection(F, N, key=jnp.ones(2))


@wrong(KEYS, TypeError, found="rank", do="OK(rank, key)")
def rank_and_key_swapped():
    return etr.OK(jax.random.key(0), 2)


@wrong(KEYS, TypeError, found="missing", do="'key'")
def a_rule_without_its_key():
    return etr.UORO()


@accepted(KEYS)
def a_legacy_key():
    old = etr.nn.Projection(F, N, key=jax.random.PRNGKey(3))
    return old.weight, etr.nn.Projection(F, N, key=jax.random.key(3)).weight


@wrong(DECAYS, ValueError, found="the integer 1", do="[0, 1)")
def a_decay_of_the_integer_one():
    return etr.PPProp(1)


@wrong(DECAYS, TypeError, found="'0.9'", do="[0, 1)")
def a_decay_that_is_a_string():
    return etr.PPProp("0.9")


@wrong(DECAYS, ValueError, found="1.5", do="[0, 1)")
def a_decay_above_one():
    return etr.PPProp(1.5)


@wrong(DECAYS, ValueError, found="-0.1", do="[0, 1)")
def a_negative_decay():
    return etr.PPProp(-0.1)


@wrong(DECAYS, TypeError, found="[3]", do="jax.vmap")
def a_decay_for_each_unit():
    return etr.PPProp(jnp.full(N, 0.9))


@wrong(DECAYS, ValueError, found="list of 3", do="pair")
def a_list_of_three_decays():
    return etr.PPProp([0.9, 0.9, 0.9])


@wrong(DECAYS, TypeError, found="None", do="[0, 1)")
def no_decay():
    return etr.PPProp(None)


@wrong(DECAYS, ValueError, found="nan", do="[0, 1)")
def a_decay_that_is_no_number():
    return etr.PPProp(float("nan"))


@wrong(DECAYS, TypeError, found="True", do="[0, 1)")
def a_decay_that_is_a_flag():
    return etr.PPProp(True)


@wrong(DECAYS, ValueError, found="20.0", do="exp(-dt / tau)")
def a_time_constant_in_place_of_a_leak():
    return etr.RFLO(20.0)


@wrong(DECAYS, TypeError, found="'slow'", do="[0, 1]")
def a_leak_that_is_a_string():
    return etr.OTTT("slow")


@wrong(DECAYS, TypeError, found="[0.9, 0.8]", do="[0, 1]")
def a_leak_that_is_a_list():
    return etr.OTPE([0.9, 0.8])


@wrong(DECAYS, ValueError, found="1.5", do="[0, 1]")
def scores_that_grow():
    scores = etr.Scores.of(weights())
    return scores.after(weights(), decay=1.5)


@wrong(DECAYS, ValueError, found="1.5", do="[0, 1]")
def scores_that_grow_by_an_array():
    return etr.Scores.of(weights()).after(weights(), decay=jnp.asarray(1.5))


@wrong(DECAYS, TypeError, found="'0.9'", do="[0, 1]")
def scores_that_fade_by_a_string():
    return etr.Scores.of(weights()).after(weights(), decay="0.9")


@accepted(DECAYS)
def a_list_of_two_decays():
    one, two = etr.PPProp([0.9, 0.8]), etr.PPProp((0.9, 0.8))
    return one.decay, two.decay


@wrong(COUNTS, ValueError, found="-1", do="1 for online")
def a_negative_window():
    return etr.etrace_grad(loss_step, etr.DRTRL(), window=-1)


@wrong(COUNTS, TypeError, found="2.0", do="integer")
def a_window_that_is_a_float():
    return ONLINE.scan(weights(), H, trace(), XS, window=2.0)


@wrong(COUNTS, TypeError, found="True", do="integer")
def a_window_that_is_a_flag():
    return etr.etrace_vjp(loss_step, etr.DRTRL(), window=True)


@wrong(COUNTS, ValueError, found="window=4", do=".scan")
def a_call_with_a_long_window():
    online = etr.etrace_grad(loss_step, etr.DRTRL(), window=4)
    return online(weights(), H, online.init(weights(), H, X), X)


@wrong(COUNTS, ValueError, found="0", do="NoTrace()")
def a_SnAp_of_no_steps():
    return etr.SnAp(0)


@wrong(COUNTS, TypeError, found="1.5", do="integer")
def a_SnAp_of_parts_of_steps():
    return etr.SnAp(1.5)


@wrong(COUNTS, TypeError, found="1000000.0", do="integer")
def a_memory_that_is_a_float():
    return etr.RTRL(1e6)


@wrong(COUNTS, TypeError, found="1.5", do="integer")
def every_one_and_a_half_steps():
    import optax

    return etr.OnlineLearner(ONLINE, optax.sgd(0.1), every=1.5)


@wrong(COUNTS, TypeError, found="'float17'", do="jnp.bfloat16")
def a_dtype_that_is_none():
    return etr.DRTRL(trace_dtype="float17")


@wrong(COUNTS, TypeError, found="int8", do="jnp.bfloat16")
def traces_of_integers():
    return etr.DRTRL(trace_dtype=jnp.int8)
