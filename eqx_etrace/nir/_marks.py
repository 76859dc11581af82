"""Numbers in a graph that mean something else to the package that wrote them than NIR's equations say.

norse      tau = dt / tau_mem_inv               a time constant that is far shorter than a step
snnTorch   r = tau / 1e-4                       an input that is not scaled; a step of 0.1 ms
rockpool   r = tau exp(-dt / tau) / dt          an input that is scaled by the leak alone
spyx       r = 1 - dt / tau                     the leak, written as a resistance
"""

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from ._layers import How, written
from ._package import nir

_SNNTORCH_DT = 1e-4
"""What snnTorch 1.0.0 takes the length of a step for, in seconds."""


def _norse(tau: np.ndarray, r: np.ndarray, dt: float) -> bool:
    return bool((tau < 0.1 * dt).all())


def _snntorch(tau: np.ndarray, r: np.ndarray, dt: float) -> bool:
    return bool(np.allclose(r * _SNNTORCH_DT, tau, rtol=1e-4))


def _rockpool(tau: np.ndarray, r: np.ndarray, dt: float) -> bool:
    return bool(np.allclose(r, tau * np.exp(-dt / tau) / dt, rtol=1e-4))


def _spyx(tau: np.ndarray, r: np.ndarray, dt: float) -> bool:
    return bool((r < 1).all() and np.allclose(r, 1 - dt / tau, rtol=1e-4))


_MARKS: list[tuple[Callable[[np.ndarray, np.ndarray, float], bool], str]] = [
    (
        _snntorch,
        "snnTorch, for which a step takes 0.1 ms. With `dt=0.1, integrator='euler'` its own numbers come back. By "
        "default its neurons subtract, after the leak: `reset='soft', leaky_reset=False`",
    ),
    (
        _norse,
        "norse, which divides by `dt` once too often: its time constant is far shorter than a step. Give `dt` squared, "
        "in seconds, in its place (of 1e-3 s that is `dt=1e-3` in milliseconds), and `integrator='euler'`. Of a "
        "CubaLIF multiply `w_in` by tau_syn over that dt, too: norse's current jumps by its input",
    ),
    (
        _rockpool,
        "rockpool, whose neurons do not scale their input, hear it times the leak of the synapse, and subtract the "
        "threshold: `reset='soft', integrator='exponential'`, and see to the scale of the input",
    ),
    (
        _spyx,
        "spyx, which writes the leak as `r`, does not scale its inputs, and subtracts the threshold: `reset='soft', "
        "integrator='euler'`, and see to the scale of the input",
    ),
]


def warn_of_marks(nodes: dict[str, Any], how: How) -> None:
    """Warn where a node bears the mark of a package that means something else by it."""
    for name, node in nodes.items():
        if not isinstance(node, nir.LIF | nir.CubaLIF | nir.LI) or written(node):
            continue
        tau = np.asarray(node.tau_mem if isinstance(node, nir.CubaLIF) else node.tau, np.float64)
        dt = 1.0 if how.dt is None else how.dt
        for mark, means in _MARKS:
            if mark(tau, np.asarray(node.r, np.float64), dt * how.unit):
                found = f"tau = {tau.flat[0]:.4g} s and r = {np.asarray(node.r).flat[0]:.4g}"
                warnings.warn(
                    f"The node `{name}` has {found}, as written by {means}. It is read by NIR's equation.", stacklevel=3
                )
                break
