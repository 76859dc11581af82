"""A layer as a node of NIR, and back: the equation that NIR gives for the node is that of the layer, in seconds.

With g as the current of a synapse, and dt the length of a step:

    LIF               tau V' = V_rest - V + R I                            `nir.LIF`
    IF                V' = (R / tau) I                                     `nir.IF`
    CuBaLIF           tau_syn g' = -g + w_in I                             `nir.CubaLIF`
    Expon             tau g' = -g + r I                                    `nir.LI`
    LeakyIntegrator   tau V' = V_rest - V + R I                            `nir.LI`
    Delay             y(t) = x(t - steps dt)                               `nir.Delay`

w_in and r are 1 / (1 - exp(-dt / tau)), so that an input that holds for a step lifts g by itself.

What an equation does not say stands in `metadata`: `dt`, and of neurons `reset`, `reset_leaks`, `threshold`. There are
also the numbers of the layer itself (`layer`, `numbers`), so that what comes back is that layer to the last bit. They
count only while they agree with the node.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..nn import Delay, Expon, IF, LeakyIntegrator, LIF
from ._network import Layer, Network
from ._package import nir

NUMBERS = ("tau", "tau_syn", "V_th", "V_reset", "V_rest", "R", "dt")


def number(layer: Layer, name: str) -> np.ndarray:
    """A parameter of a layer, in double precision."""
    return np.asarray(getattr(layer, name), np.float64)


def check_numbers(network: Network) -> None:
    """Are all numbers finite, without units, and times longer than zero?"""
    for name, layer in network.layers.items():
        for field in (f for f in NUMBERS if hasattr(layer, f)):
            value = getattr(layer, field)
            if not isinstance(value, float | jax.Array):
                raise TypeError(
                    f"`{field}` of `{name}` is {value}, which has a unit, and NIR has seconds and plain numbers: take "
                    "the magnitudes, and say by `unit=` what a time of 1 is in seconds."
                )
            _check_finite(f"`{field}` of `{name}`", value)
            if field.startswith(("tau", "dt")) and not bool(jnp.all(jnp.asarray(value) > 0)):
                raise ValueError(f"`{field}` of `{name}` is {value}; it must be longer than zero.")
    for name, heard in network.heard.items():
        for wire in heard.wires:
            _check_finite(f"A weight from `{wire.source}` to `{name}`", wire.weight)
        _check_finite(f"The bias of `{name}`", heard.bias)


def _check_finite(what: str, value: Any) -> None:
    if value is not None and not bool(jnp.all(jnp.isfinite(jnp.asarray(value)))):
        raise ValueError(f"{what} is not finite. A graph with such numbers would be read elsewhere without a word.")


def node_of(layer: Layer, size: int, unit: float, dt: float) -> Any:
    """The node of a layer of so many units, whose times are in units of `unit` seconds; `dt` is that of a delay."""
    if isinstance(layer, Delay):
        return nir.Delay(
            np.broadcast_to(np.asarray(layer.steps, np.float64), size) * dt * unit, metadata={"dt": dt * unit}
        )
    full = lambda value: np.broadcast_to(np.asarray(value, np.float64), size).copy()  # noqa: E731
    at = {name: number(layer, name) for name in NUMBERS if hasattr(layer, name)}
    metadata = {"dt": float(at["dt"]) * unit, "integrator": "exponential", "unit": unit, **_itself(layer)}
    if isinstance(layer, Expon):
        r = -1 / np.expm1(-at["dt"] / at["tau"])
        return nir.LI(tau=full(at["tau"] * unit), r=full(r), v_leak=full(0), metadata=metadata)
    if isinstance(layer, LeakyIntegrator):
        tau, rest = full(at["tau"] * unit), full(at["V_rest"])
        return nir.LI(tau=tau, r=full(at["R"]), v_leak=rest, metadata=metadata)
    metadata |= {"reset": layer.reset, "reset_leaks": int(layer.leaky_reset), "threshold": ">="}
    spikes = {"v_threshold": full(at["V_th"]), "v_reset": full(at["V_reset"]), "metadata": metadata}
    if isinstance(layer, IF):
        return nir.IF(r=full(at["R"] / (at["tau"] * unit)), **spikes)
    leak = {"r": full(at["R"]), "v_leak": full(at["V_rest"]), **spikes}
    if isinstance(layer, LIF):
        return nir.LIF(tau=full(at["tau"] * unit), **leak)
    times = {"tau_syn": full(at["tau_syn"] * unit), "tau_mem": full(at["tau"] * unit)}
    return nir.CubaLIF(**times, w_in=full(-1 / np.expm1(-at["dt"] / at["tau_syn"])), **leak)


def _itself(layer: Layer) -> dict[str, Any]:
    """The numbers of a layer as they are, and which of them are constants."""
    held = {name: getattr(layer, name) for name in NUMBERS if hasattr(layer, name)}
    constants = " ".join(name for name, value in held.items() if isinstance(value, float))
    return {
        "layer": type(layer).__name__,
        "constants": constants,
        "numbers": {name: float(v) if isinstance(v, float) else _writable(np.asarray(v)) for name, v in held.items()},
    }


def _writable(value: np.ndarray) -> Any:
    """A number in place of an array without axes, which nir 1.0.8 cannot write."""
    return value if value.ndim else value[()]
