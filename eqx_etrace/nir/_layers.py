"""A node of NIR as a layer: the numbers of the layer that wrote it, or else those of its equation."""

import dataclasses
import math
from typing import Any, Literal

import jax.numpy as jnp
import numpy as np

from ..nn import AbstractSurrogate, CuBaLIF, Delay, Expon, IF, LeakyIntegrator, LIF
from ._network import Layer
from ._nodes import node_of, NUMBERS
from ._package import nir

_KINDS = {kind.__name__: kind for kind in (IF, LIF, CuBaLIF, Expon, LeakyIntegrator)}
_ASKED = {
    "reset": "'soft', which subtracts the threshold, or 'hard', which sets V to `v_reset`",
    "integrator": "'exponential', a leak of exp(-dt / tau), or 'euler', one of 1 - dt / tau",
    "dt": "the length of a step, in milliseconds if you give no other `unit`",
}


@dataclasses.dataclass(frozen=True)
class How:
    """What a graph does not say, as the user says it; None where they do not."""

    dt: float | None
    reset: Literal["soft", "hard"] | None
    integrator: Literal["exponential", "euler"] | None
    leaky_reset: bool | None
    unit: float
    """Of the times of the model, in seconds."""
    surrogate: AbstractSurrogate

    def says(self, what: str, name: str, node: Any) -> Any:
        """What the user says, or else the file; they must not contradict each other."""
        said, held = getattr(self, what), written(node, self.unit).get(what)
        if said is None and held is None:
            raise ValueError(
                f"`{what}` is needed for the node `{name}`: NIR has no place for it, and the graph was written by a "
                f"package that does not say it. Give `{what}=`: {_ASKED[what]}."
            )
        if None not in (said, held) and not _agree(said, held):
            raise ValueError(
                f"The node `{name}` was written with {what}={held!r}, and you ask for {said!r}. Leave it out, or "
                "remove `metadata` from the node."
            )
        return held if said is None else said


def _agree(said: Any, held: Any) -> bool:
    return said == held or (isinstance(held, float) and math.isclose(said, held, rel_tol=1e-9))


def written(node: Any, unit: float = 1.0) -> dict[str, Any]:
    """What the metadata of a node says."""
    held = {key: _plain(value) for key, value in (node.metadata or {}).items()}
    found = {key: held[key] for key in ("reset", "integrator") if key in held}
    if "reset_leaks" in held:
        found["leaky_reset"] = bool(held["reset_leaks"])
    if "dt" in held:
        found["dt"] = float(held["dt"]) / unit
    known = {"reset": ("soft", "hard"), "integrator": ("exponential", "euler"), "threshold": (">=",)}
    for what, allowed in known.items():
        if held.get(what, allowed[0]) not in allowed:
            raise ValueError(
                f"The metadata of a node say {what}={held[what]!r}; known is {' or '.join(map(repr, allowed))}."
            )
    return found


def _plain(value: Any) -> Any:
    """A text as one, whatever a file made of it."""
    return value.decode() if isinstance(value, bytes) else value


def layer_of(name: str, node: Any, how: How) -> Layer:
    """The layer of a node.

    **Raises** `ValueError` for a node that no layer has the equation of, and where something must be asked for.
    """
    if isinstance(node, nir.Delay):
        return _delay(name, node, how)
    kept = _kept(name, node, how)
    return _from_equation(name, node, how) if kept is None else kept


def _kept(name: str, node: Any, how: How) -> Layer | None:
    """The layer that wrote the node, if the node still says what it wrote."""
    held, kind = node.metadata or {}, _writer(node, how)
    how.says("dt", name, node)
    if kind is None:
        return None
    constants = str(_plain(held["constants"])).split()
    numbers = {k: float(v) if k in constants else jnp.asarray(v) for k, v in held["numbers"].items()}
    layer = kind(**numbers, **_spiking(name, node, how))
    again = node_of(layer, int(node.input_type["input"][0]), how.unit, 0.0)
    same = all(np.array_equal(getattr(node, f), getattr(again, f)) for f in fields_of(node))
    same = same and float(held["dt"]) == again.metadata["dt"]
    return layer if same and how.says("integrator", name, node) == "exponential" else None


def _writer(node: Any, how: How) -> type | None:
    """The kind of layer that wrote the node, if the metadata have all of its numbers, in these units."""
    held = node.metadata or {}
    kind = _KINDS.get(_plain(held.get("layer", "")))
    if kind is None or not {"unit", "constants", "numbers", "dt"} <= held.keys() or float(held["unit"]) != how.unit:
        return None
    return kind if set(held["numbers"]) == {f.name for f in dataclasses.fields(kind)} & set(NUMBERS) else None


def fields_of(node: Any) -> list[str]:
    """The names of the numbers in a node."""
    return [f.name for f in dataclasses.fields(node) if f.name not in ("input_type", "output_type", "metadata")]


def _spiking(name: str, node: Any, how: How) -> dict[str, Any]:
    """What a neuron has beside its equation."""
    if not isinstance(node, nir.IF | nir.LIF | nir.CubaLIF):
        return {}
    leaks = how.leaky_reset if "leaky_reset" not in written(node) else how.says("leaky_reset", name, node)
    return {
        "reset": how.says("reset", name, node),
        "leaky_reset": True if leaks is None else leaks,
        "surrogate": how.surrogate,
    }


def _from_equation(name: str, node: Any, how: How) -> Layer:
    if not isinstance(node, nir.IF | nir.LIF | nir.CubaLIF | nir.LI):
        raise ValueError(
            f"The node `{name}` is a `{type(node).__name__}`, and no layer here has its equation. IF, LIF, CubaLIF, "
            "LI, Delay, Affine, Linear, Scale and Flatten are read; for convolutions write their matrix as Affine."
        )
    dt = float(how.says("dt", name, node))
    given = {field: np.asarray(getattr(node, field), np.float64) for field in fields_of(node)}
    as_times = {
        field: _time(name, node, given[field] / how.unit, dt, how) for field in given if field.startswith("tau")
    }
    numbers: dict[str, Any] = {"R": given["r"], "dt": dt}
    if "v_leak" in given:
        numbers["V_rest"] = given["v_leak"]
    if "v_threshold" in given:
        numbers |= {"V_th": given["v_threshold"], "V_reset": given["v_reset"]}
    if isinstance(node, nir.CubaLIF):
        # g <- s g + (1 - s) w_in x there, g <- s g + x here
        numbers["R"] = given["r"] * given["w_in"] * -np.expm1(-dt / as_times["tau_syn"])
        numbers |= {"tau": as_times["tau_mem"], "tau_syn": as_times["tau_syn"]}
    else:
        numbers["tau"] = np.asarray(1 / how.unit) if isinstance(node, nir.IF) else as_times["tau"]
    kind = {nir.IF: IF, nir.LIF: LIF, nir.CubaLIF: CuBaLIF, nir.LI: LeakyIntegrator}[type(node)]
    return kind(**{k: _parameter(v) for k, v in numbers.items()}, **_spiking(name, node, how))


def _parameter(value: Any) -> Any:
    """A constant where all units have the same number, else an array, which is a parameter of the model."""
    all_alike = np.unique(value)
    return float(all_alike[0]) if all_alike.size == 1 else jnp.asarray(value)


def _time(name: str, node: Any, tau: np.ndarray, dt: float, how: How) -> np.ndarray:
    """The time constant of an exponential leak that is that of the integrator."""
    if how.says("integrator", name, node) == "exponential":
        return tau
    kept = 1 - dt / tau
    if (kept < 0).any() or (kept >= 1).any():
        raise ValueError(
            f"By Euler steps the node `{name}` keeps {kept.min():.3g} of its potential in a step of dt={dt}, its "
            f"shortest time constant being {tau.min():.3g}: it must be between 0 and 1. Is `dt` in the unit that "
            "`unit` says, and was the file written with another one?"
        )
    return np.where(kept == 0, dt / 1e3, -dt / np.log(np.where(kept == 0, 0.5, kept)))


def _delay(name: str, node: Any, how: How) -> Delay:
    dt = float(how.says("dt", name, node))
    steps = np.atleast_1d(np.asarray(node.delay, np.float64)) / how.unit / dt
    whole = np.round(steps).astype(int)
    if not np.allclose(steps, whole, rtol=0, atol=1e-6):
        raise ValueError(
            f"The node `{name}` delays by {steps.min():.6g} to {steps.max():.6g} steps of dt={dt}: no whole ones."
        )
    return Delay(int(whole[0]) if np.unique(whole).size == 1 else whole)
