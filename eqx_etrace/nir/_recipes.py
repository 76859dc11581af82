"""The same spikes elsewhere: what to write for a package whose reader means something else than NIR's equations.

A neuron here is, with potentials above rest, a = exp(-dt / tau) and s = exp(-dt / tau_syn),

    V  <-  a V + gain I,    I  <-  s I + x      (without a synapse I = x; without a leak a = 1)
    spikes where V >= V_th; then V falls by V_th (soft) or to 0 (hard), before the next leak or after it

Each recipe below says which node makes a package compute just that, and what the inputs of the layer are multiplied by.
Euler readers keep 1 - step / tau, so tau is written as step / (1 - a). They were found by running the packages, and are
held by the spikes of the packages (`tests/simulators`).
"""

import dataclasses
from typing import Any

import numpy as np

from ..nn import AbstractNeuron, CuBaLIF, Expon, IF
from ._network import Layer
from ._nodes import number
from ._package import nir

STEP = 1e-4
"""What snnTorch 1.0.0 takes a step for, in seconds, and what norse is to be told."""
_NO_LEAK = 2.0**60
"""So many steps that 1 - 1 / steps is 1 in every precision; a power of two, so that it scales without rounding."""


@dataclasses.dataclass(frozen=True)
class Numbers:
    """A layer in the form above, by unit."""

    kept: np.ndarray
    """a"""
    held: np.ndarray | None
    """s, where there is a synapse."""
    gain: np.ndarray
    V_th: np.ndarray
    kind: str
    """"soft" or "hard", and "after" for a reset that follows the leak; "" for what does not spike."""

    @property
    def steps(self) -> np.ndarray:
        """1 / (1 - a): the time constant in steps, for a reader that takes Euler steps."""
        return np.where(self.kept == 1, _NO_LEAK, 1 / np.where(self.kept == 1, 0.5, 1 - self.kept))

    @property
    def leak(self) -> np.ndarray:
        """1 - a as that reader has it."""
        return 1 / self.steps


class NoRecipeError(ValueError):
    """Nothing makes this package give the same spikes."""


def numbers_of(name: str, layer: Layer, size: int) -> Numbers:
    """A layer in the form above.

    **Raises** `NoRecipeError` for a neuron that rests elsewhere than it resets to: readers know neither.
    """
    full = lambda value: np.broadcast_to(value, size).astype(np.float64)  # noqa: E731
    kept, gain = _kept_and_gain(layer)
    zero = np.zeros(())
    rest = number(layer, "V_rest") if hasattr(layer, "V_rest") else zero
    held = full(np.exp(-number(layer, "dt") / number(layer, "tau_syn"))) if isinstance(layer, CuBaLIF) else None
    if not isinstance(layer, AbstractNeuron):
        if (rest != 0).any():
            raise NoRecipeError(f"`{name}` has a resting potential, and no reader knows one. Add it behind the layer.")
        return Numbers(full(kept), held, full(gain), full(zero), "")
    if (number(layer, "V_reset") != rest).any():
        raise NoRecipeError(
            f"`{name}` resets to {layer.V_reset} and rests at {rest}: readers of NIR start, rest and reset at 0, and "
            "read neither `v_reset` nor `v_leak` as such. Where both are the same, potentials are shifted."
        )
    if (number(layer, "V_th") <= rest).any():
        raise NoRecipeError(f"`{name}` rests at its threshold or above it; readers of NIR start at rest, and silent.")
    after = "" if layer.leaky_reset or (isinstance(layer, IF) and layer.reset == "soft") else " after"
    return Numbers(full(kept), held, full(gain), full(number(layer, "V_th") - rest), layer.reset + after)


def _kept_and_gain(layer: Layer) -> tuple[Any, Any]:
    """a and the gain, by the equation of the layer."""
    tau, dt, r = number(layer, "tau"), number(layer, "dt"), number(layer, "R") if hasattr(layer, "R") else np.ones(())
    if isinstance(layer, IF):
        return np.ones(()), dt / tau * r
    return np.exp(-dt / tau), np.ones(()) if isinstance(layer, Expon) else -np.expm1(-dt / tau) * r


Written = tuple[Any, np.ndarray]
"""A node, and what the inputs of the layer are multiplied by."""


def _lif(n: Numbers, tau: np.ndarray, r: Any = 1.0) -> Any:
    one = np.ones_like(n.kept)
    return nir.LIF(tau=tau, r=r * one, v_leak=0 * one, v_threshold=n.V_th, v_reset=0 * one)


def _if(n: Numbers) -> Any:
    one = np.ones_like(n.kept)
    return nir.IF(r=one, v_threshold=n.V_th, v_reset=0 * one)


def _cuba(n: Numbers, tau: np.ndarray, tau_syn: np.ndarray, r: Any, w_in: Any) -> Any:
    one = np.ones_like(n.kept)
    nodes = {"r": r * one, "w_in": w_in * one, "v_leak": 0 * one, "v_threshold": n.V_th, "v_reset": 0 * one}
    return nir.CubaLIF(tau_mem=tau, tau_syn=tau_syn, **nodes)


# Two readers by Euler steps


def euler_lif(n: Numbers) -> Written:
    return _lif(n, STEP * n.steps), n.gain / n.leak


def norse_current(n: Numbers) -> Written:
    """One that has no synapse is written with one that forgets at once: norse asks how to reset only there."""
    held = np.zeros_like(n.kept) if n.held is None else n.held
    return _cuba(n, STEP * n.steps, STEP / (1 - held), n.steps, 1 / (1 - held)), n.gain


def snntorch_lif(n: Numbers) -> Written:
    return _alike(_lif(n, STEP * n.steps, n.steps)), n.gain / n.V_th


def snntorch_current(n: Numbers) -> Written:
    assert n.held is not None
    node = _cuba(n, STEP * n.steps, STEP / (1 - n.held), n.steps, 1 / (1 - n.held))
    return _alike(node), n.gain / n.V_th


def _alike(node: Any) -> Any:
    """With a threshold of 1: snnTorch takes one for all units, and weights take up the difference."""
    return dataclasses.replace(node, v_threshold=np.ones_like(node.v_threshold))


def norse_if(n: Numbers) -> Written:
    return _if(n), n.gain


# By exponential steps


def sinabs_lif(n: Numbers) -> Written:
    return _lif(n, _time_in_steps(n)), n.gain


def sinabs_leak(n: Numbers) -> Written:
    one = np.ones_like(n.kept)
    return nir.LI(tau=_time_in_steps(n), r=one, v_leak=0 * one), n.gain


def _time_in_steps(n: Numbers) -> np.ndarray:
    return np.where(n.kept == 1, _NO_LEAK, -1 / np.log(np.where(n.kept == 1, 0.5, n.kept)))


def rockpool_current(n: Numbers) -> Written:
    """A step of 1 s, which it finds as tau / (1 + r). The synapse decays what comes in, too."""
    assert n.held is not None
    if (n.held < 1e-30).any() or (n.kept < 1e-30).any():
        raise NoRecipeError(
            "rockpool 3.1.0 computes in single precision, in which a time constant this short keeps nothing."
        )
    tau = _time_in_steps(n)
    return _cuba(n, tau, -1 / np.log(n.held), tau - 1, 1.0), n.gain / n.held


# By steps whose spikes come a step later


def spyx_lif(n: Numbers) -> Written:
    return _lif(n, n.steps), n.gain


def spyx_if(n: Numbers) -> Written:
    return _if(n), n.gain


def spyx_current(n: Numbers) -> Written:
    assert n.held is not None
    return _cuba(n, n.steps, 1 / (1 - n.held), 1.0, 1.0), n.gain
