"""Steps that a graph of NIR cannot say, each with the reason."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from nir_networks import drawn, LIF, read, STATE, UNITS, W, XS

from eqx_etrace import nn
from eqx_etrace.nir import to_nir

pytestmark = pytest.mark.outside_sample  # what is tested hardly depends on the version of JAX


def says(text: str, step: Any, state: Any = STATE, x: Any = XS[0], **options: Any) -> Any:
    return pytest.param(step, state, x, options, text, id=text)


def _unheard(m: Any, s: Any, x: Any) -> Any:
    z, one = LIF(m @ x, s[0])
    return z, (one, LIF(z, s[1])[1])


def _two_biases(m: Any, s: Any, x: Any) -> Any:
    soft = nn.LIF(leaky_reset=False)
    z, one = soft(m @ x, s[0])
    y, two = soft(z + 0.1, s[1])
    return y, (one, two)


@pytest.mark.parametrize(
    "step, state, x, options, text",
    [
        says("goes through `tanh`.*no affine map", lambda m, s, x: LIF(jnp.tanh(W @ x), s)),
        says("goes through `mul`", lambda m, s, x: LIF((W @ x) * (W @ x), s)),
        says("hears the membrane", lambda m, s, x: LIF(W @ x + s.V, s)),
        says("calls no layer", lambda m, s, x: (s.V, nn.NeuronState(0.9 * s.V + W @ x))),
        says("changed before the layer", lambda m, s, x: LIF(W @ x, nn.NeuronState(0.5 * s.V))),
        says("changed after the layer", lambda m, s, x: (W @ x, nn.NeuronState(2 * LIF(W @ x, s)[1].V))),
        says("an ALIF: its threshold adapts", lambda m, s, x: nn.ALIF()(W @ x, s), nn.ALIF().init_state(UNITS)),
        says("a GIF: its threshold", lambda m, s, x: nn.GIF()(W @ x, s), nn.GIF().init_state(UNITS)),
        says(
            "a Refractory: NIR has no refractory",
            lambda m, s, x: nn.Refractory(LIF, 5.0)(W @ x, s),
            nn.Refractory(LIF, 5.0).init_state(UNITS),
        ),
        says("an Alpha: NIR has no synapse", lambda m, s, x: nn.Alpha()(W @ x, s), nn.Alpha().init_state(UNITS)),
        says("subtracts its threshold.*soft_reset=True", lambda m, s, x: nn.LIF()(W @ x, s)),
        says("`for_target` is 'nest'", lambda m, s, x: LIF(W @ x, s), for_target="nest"),
        says("lava-nc 0.10.0 reads no NIR", lambda m, s, x: LIF(W @ x, s), for_target="lava"),
        says("hears the membrane", lambda m, s, x: (s.V, LIF(W @ x, s)[1])),
        says("not finite", lambda m, s, x: LIF(m * jnp.inf @ x, s)),
        says("(?s)`tau` of `lif` is .*longer than zero", lambda m, s, x: nn.LIF(tau=m[:, 0] - 9.0)(m @ x, s)),
        says("`unit` is 0", lambda m, s, x: LIF(m @ x, s), unit=0),
        says("a bias, and is not the first", _two_biases, (STATE, STATE), for_target="spyx"),
        says("hears `lif_2`. A graph has one output", _unheard, (STATE, STATE)),
        says("its output has 2 arrays", lambda m, s, x: ((x, x), LIF(W @ x, s)[1])),
        says("runs in lanes", lambda m, s, x: jax.vmap(LIF)(x @ W.T, s), LIF.init_state((2, UNITS)), XS[:2]),
        says("has the shape", lambda m, s, x: LIF(x @ W.T, s), LIF.init_state((2, UNITS)), XS[:2]),
        says(
            "must be a chain",
            lambda m, s, x: (lambda z, s: (z + W @ x, s))(*LIF(W @ x, s)),
            for_target="norse",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_said(step, state, x, options, text):
    with pytest.raises(ValueError, match=text):
        to_nir(step, W, state, x, **options)


def test_spikes_of_the_same_step_on_two_ways_are_added():
    def step(rec, state, x):
        lif, z = state
        current = W @ x + rec @ z + 2 * (rec @ LIF.spike(lif))
        z, lif = LIF(current, lif)
        return z, (lif, z)

    rec = drawn(2, UNITS, UNITS)
    model = read(to_nir(step, rec, (STATE, jnp.zeros(UNITS)), XS[0]))
    np.testing.assert_allclose(model.heard["lif"].wires[1].weight, 3 * rec, rtol=1e-12)


def test_spikes_that_another_neuron_reads():
    def step(w, state, x):
        return LIF(w @ x + 0.1 * nn.LIF(reset="hard", V_th=0.5).spike(state), state)

    with pytest.raises(ValueError, match="`spike` of one neuron reads the state of `lif`, which is another"):
        to_nir(step, W, STATE, XS[0])


def test_a_state_of_ones_own():
    def step(m, state, x):
        lif, mean = state
        z, lif = LIF(W @ x, lif)
        mean = 0.9 * mean + z
        return mean, (lif, mean)

    with pytest.raises(ValueError, match=r"`output` hears `1` of the state, which is no layer's"):
        to_nir(step, W, (STATE, jnp.zeros(UNITS)), XS[0])


def test_one_length_of_a_step():
    def step(m, state, x):
        lif, syn = state
        z, lif = LIF(W @ x, lif)
        y, syn = nn.Expon(dt=0.5)(z, syn)
        return y, (lif, syn)

    with pytest.raises(ValueError, match=r"one and the same `dt`; found `lif` 1\.0, `expon` 0\.5"):
        to_nir(step, W, (STATE, nn.Expon().init_state(UNITS)), XS[0])
