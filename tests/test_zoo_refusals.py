"""What neurons, synapses and cells say to arguments that cannot be."""

from typing import Any

import jax
import jax.numpy as jnp
import pytest

from eqx_etrace import nn

KEY = jax.random.key(0)
CELL = nn.RNNCell(2, 4, key=KEY)
MAKE: dict[str, Any] = {"LearnedDelay": nn.LearnedDelay, "SpikingReadout": nn.SpikingReadout}
WRONG = {
    "a rise that is too long": (lambda: nn.DoubleExponential(tau_decay=2.0, tau_rise=2.0), "is an `Alpha`"),
    "no resources": (lambda: nn.ShortTermPlasticity(U=0.0), r"must lie in \(0, 1\]"),
    "a delay in ms": (lambda: nn.Delay(2.5), "must be an integer"),
    "the future": (lambda: nn.Delay([1, -1]), "none below 0"),
    "other units": (lambda: nn.Delay([1, 2]).init_state(3), "There are 2 delays"),
    "no room": (lambda: nn.LearnedDelay(jnp.ones(2), 0), "at least 1"),
    "a leak that grows": (lambda: nn.RNNCell(2, 2, leak=1.5, key=jax.random.key(0)), r"must lie in \(0, 1\]"),
    "a ring inside out": (lambda: nn.LRUCell(2, 2, 2, r_min=0.9, r_max=0.5, key=jax.random.key(0)), "r_min < r_max"),
    "no time": (lambda: nn.CuBaLIF(tau_syn=0.0), "`tau_syn` of `CuBaLIF` is 0.0"),
    "a delay that is no array": (lambda: MAKE["LearnedDelay"](2.5, 8), "must be an array|Expected type"),
    "whole delays": (lambda: MAKE["LearnedDelay"](jnp.asarray([1, 2]), 8), "array .units. of floats|Expected type"),
    "a delay without a slot": (lambda: nn.LearnedDelay(jnp.asarray([2.0, 9.0]), 8), r"must lie in \[0, longest\]"),
    "a class": (lambda: MAKE["SpikingReadout"](2, 2, neuron=nn.LIF, key=KEY), "such as `LIF|Expected type"),
    "too many inputs": (lambda: CELL(jnp.ones(3), CELL.init_state()), "`RNNCell` takes 2 inputs"),
    "other lanes": (lambda: CELL(jnp.ones((8, 2)), CELL.init_state()), r"init_state\(batch=\(8,\)\)|Expected type"),
    "more units than potentials": (lambda: nn.LIF()(jnp.ones(3), nn.LIF().init_state(4)), "The current has the shape"),
    "lanes without potentials": (lambda: nn.LIF()(jnp.ones((2, 4)), nn.LIF().init_state(4)), r"init_state\(\(2, 4\)\)"),
    "another line": (lambda: nn.Delay(2)(jnp.ones(3), nn.Delay(2).init_state(4)), "so the line must be"),
    "the line of another": (lambda: nn.Delay(5)(jnp.ones(2), nn.Delay(2).init_state(2)), "of this delay"),
    "no width": (lambda: nn.LearnedDelay(jnp.ones(2), 4, sigma=0.0), "larger than zero"),
    "times that are alike": (lambda: nn.DoubleExponential(jnp.full(2, 3.0), jnp.full(2, 3.0)), "is an `Alpha`"),
    "a threshold at rest": (lambda: nn.LIF(V_th=0.0), "must lie above `V_reset`"),
    "delays of others": (lambda: nn.LearnedDelay(jnp.ones(3), 4).init_state(4), "There are 3 delays"),
    "rates in no time": (lambda: nn.SpikingReadout(2, 2, tau=-1.0, key=jax.random.key(0)), "`tau` of `SpikingReadout`"),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_cannot_be_is_said(what):
    module, said = WRONG[what]
    with pytest.raises((TypeError, ValueError), match=said):
        module()
