"""What NIR has no words for, and what to say then."""

from typing import Any

from ..nn import (
    AbstractNeuron,
    AbstractSurrogate,
    ALIF,
    Alpha,
    CuBaLIF,
    Delay,
    DoubleExponential,
    Expon,
    GIF,
    IF,
    LeakyIntegrator,
    LearnedDelay,
    LIF,
    Refractory,
    ShortTermPlasticity,
)

_WHY: dict[type, str] = {
    ALIF: "its threshold adapts, and no node of NIR does that. Train a `LIF` instead",
    GIF: "its threshold and its currents adapt, and no node of NIR does that. Train a `LIF` instead",
    Refractory: "NIR has no refractory time. Take the neuron without it",
    Alpha: "NIR has no synapse that rises. `Expon` and `CuBaLIF` can be said",
    DoubleExponential: "NIR has no synapse that rises. `Expon` and `CuBaLIF` can be said",
    ShortTermPlasticity: "NIR has no synapse that changes with its use. Take it out",
    LearnedDelay: "NIR has delays of one slot. Round it: `Delay(jnp.round(learned.delay).astype(int))`",
}


ONE_LANE = "`lambda model, state, x: model(x, state)`, with `x` of shape [inputs] and a state of one lane."


def a(layer: Any) -> str:
    """A LIF, an IF."""
    kind = type(layer).__name__
    return f"{'an' if kind[0] in 'AEI' else 'a'} {kind}"


def check_can_be_said(name: str, layer: Any) -> None:
    """Is there a node of NIR for this layer?"""
    kind = type(layer)
    if isinstance(layer, AbstractNeuron) and not isinstance(layer.surrogate, AbstractSurrogate):
        raise ValueError(
            f"The spike function of `{name}` is {layer.surrogate!r}, and a node of NIR spikes at its threshold: take "
            "one of `nn`, or a class of your own, whose spikes are 1 or 0 (`nn.AbstractSurrogate`)."
        )
    if kind in (IF, LIF, CuBaLIF, Expon, LeakyIntegrator, Delay):
        return
    why = _WHY.get(kind, "only the neurons and synapses of `eqx_etrace.nn` are known here")
    raise ValueError(f"The layer `{name}` is {a(layer)}: {why}.")
