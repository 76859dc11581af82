"""Sizes, flags and options of layers, encoders and transforms."""

import importlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from .case import accepted, wrong
from .network import etr, F, H, learner, loss_step, N, ONLINE, weights, X, XS

SIZES, FLAGS = "sizes and shapes", "flags and options"
KEY = jax.random.key(0)


@wrong(SIZES, TypeError, found="2.5", do="integer")
def a_cell_of_parts_of_inputs():
    return etr.nn.RNNCell(2.5, N, key=KEY)


@wrong(SIZES, ValueError, found="0", do="at least 1")
def a_cell_without_inputs():
    return etr.nn.MGUCell(0, N, key=KEY)


@wrong(SIZES, TypeError, found="'3'", do="integer")
def a_readout_of_a_string_of_units():
    return etr.nn.LeakyRateReadout(F, "3", key=KEY)


@wrong(SIZES, TypeError, found="3.0", do="integers")
def a_state_of_a_float_of_units():
    return etr.nn.LIF().init_state(3.0)


@accepted(SIZES)
def a_state_of_a_list():
    return etr.nn.Expon().init_state([3]).g, jnp.zeros(N)


@wrong(SIZES, ValueError, found="-3", do="integers")
def a_state_of_a_negative_number_of_units():
    return etr.nn.ALIF().init_state(-3)


@wrong(SIZES, TypeError, found="float32[4, 3]", do="integers")
def a_state_of_an_array():
    return etr.nn.CuBaLIF().init_state(jnp.zeros((4, N)))


@wrong(SIZES, TypeError, found="2.0", do="integers")
def a_batch_that_is_a_float():
    return etr.nn.MinLSTMCell(F, N, key=KEY).init_state(batch=2.0)


@wrong(SIZES, TypeError, found="2.5", do="LearnedDelay")
def a_delay_between_two_steps():
    return etr.nn.Delay(2.5)


@wrong(SIZES, TypeError, found="int32", do="floats")
def a_learned_delay_of_integers():
    return etr.nn.LearnedDelay(jnp.ones(N, int), 4)


@wrong(SIZES, ValueError, found="9.0", do="[0, longest]")
def a_learned_delay_beyond_the_longest():
    return etr.nn.LearnedDelay(jnp.full(N, 9.0), 4)


@wrong(SIZES, ValueError, found="[2]", do="[*batch, 3]")
def a_cell_that_is_given_other_inputs():
    cell = etr.nn.IndRNNCell(N, N, key=KEY)
    return cell(X, cell.init_state())


@wrong(SIZES, ValueError, found="[2]", do="[*batch, 3]", where="`step`")
def a_projection_that_is_given_other_inputs():
    def step(m, h, x):
        h = 0.9 * h + m(x)
        return jnp.sum(h), h

    return etr.etrace_grad(step, etr.DRTRL()).init(etr.nn.Projection(N, N, key=KEY), H, X)


@wrong(SIZES, ValueError, found="[2, 3]", do="[in, out]")
def feedback_that_is_not_turned():
    return etr.nn.FeedbackLinear(jnp.ones((2, N)), jnp.ones((2, N)))


@wrong(SIZES, ValueError, found="5", do="3")
def a_synthetic_gradient_of_another_state():
    guess = etr.SyntheticGradient(jnp.zeros(N))
    return guess(jnp.zeros(5))


@wrong(SIZES, TypeError, found="no inexact arrays", do="real numbers")
def a_synthetic_gradient_of_integers():
    return etr.SyntheticGradient(jnp.zeros(N, int))


@wrong(SIZES, ValueError, found="[2]", do="[3]")
def a_start_of_another_shape():
    return etr.encode.delta(jnp.ones((4, N)), 0.1, start=jnp.zeros(2))


@wrong(FLAGS, TypeError, found="'no'", do="bool")
def a_reset_gradient_that_is_a_word():
    """A word is true."""
    return etr.nn.LIF(reset_gradient="no")


@wrong(FLAGS, TypeError, found="None", do="bool")
def a_leaky_reset_that_is_None():
    return etr.nn.ALIF(leaky_reset=None)


@wrong(FLAGS, TypeError, found="'no'", do="bool")
def filters_that_are_a_word():
    return etr.DRTRL(filters="no")


@wrong(FLAGS, TypeError, found="1", do="bool")
def a_learned_feedback_that_is_a_number():
    return etr.nn.FeedbackLinear(jnp.ones((2, N)), jnp.ones((N, 2)), learned=1)


@wrong(FLAGS, ValueError, found="'none'", do="'soft'")
def a_reset_that_there_is_not():
    return etr.nn.GIF(reset="none")


@wrong(FLAGS, TypeError, found="'tanh'", do="jnp.tanh")
def an_activation_that_is_a_word():
    return etr.nn.RNNCell(F, N, activation="tanh", key=KEY)


@wrong(FLAGS, TypeError, found="'2'", do="number")
def a_surrogate_with_a_string():
    return etr.nn.Arctan(alpha="2")


@wrong(FLAGS, ValueError, found="1.5", do="(0, 1]")
def a_leak_above_one():
    return etr.nn.RNNCell(F, N, leak=1.5, key=KEY)


@wrong(FLAGS, ValueError, found="-1.0", do="longer than zero")
def a_negative_step():
    return etr.nn.Expon(dt=-1.0)


@wrong(FLAGS, ValueError, found="`V_th`", do="above `V_reset`")
def a_threshold_below_the_reset():
    return etr.nn.LIF(V_th=-60.0, V_reset=-50.0)


@wrong(FLAGS, ValueError, found="'ignore'", do="'drop'")
def events_to_be_ignored():
    return etr.events.bin_events(np.zeros(1), np.zeros(1, int), dt=1, steps=1, channels=1, outside="ignore")


@wrong(FLAGS, ValueError, found="0", do="at least 1 step")
def every_no_steps():
    return etr.OnlineLearner(ONLINE, optax.sgd(0.1), every=0)


@wrong(FLAGS, ValueError, found="window=8", do="every=8")
def a_window_longer_than_the_update():
    online = etr.etrace_value_and_grad(loss_step, etr.DRTRL(), window=8)
    return etr.OnlineLearner(online, optax.sgd(0.1))


@wrong(FLAGS, ValueError, found="2.5", do="at least 1")
def pieces_of_parts_of_steps():
    one, learning = learner()
    return one.chunks(learning, XS, steps=2.5)


@wrong(FLAGS, TypeError, found="`among`", do="[RTRL(), DRTRL()]")
def one_rule_to_choose_among():
    return etr.choose_rule(etr.compile_graph(loss_step, weights(), H, X), memory=1000, among=etr.DRTRL())


@wrong(FLAGS, ValueError, found="`stretch` is 5", do="1 <= stretch <= every")
def a_stretch_longer_than_every():
    return etr.FidelityProbe(ONLINE, 2, 5)


@wrong(FLAGS, ValueError, found="'1 ms'", do="number")
def a_unit_that_is_a_string():
    nir: Any = importlib.import_module("eqx_etrace.nir")
    return nir.to_nir(loss_step, weights(), H, X, unit="1 ms")
