"""`from_nir`: a graph of NIR as a model."""

import math
from typing import Any, Literal

from ..nn import AbstractSurrogate, Triangular
from ._graphs import Graph
from ._layers import How
from ._marks import warn_of_marks
from ._network import Network
from ._writing import with_delays


def from_nir(
    graph: Any,
    *,
    dt: float | int | None = None,
    reset: Literal["soft", "hard"] | None = None,
    integrator: Literal["exponential", "euler"] | None = None,
    leaky_reset: bool | None = None,
    unit: float | int = 1e-3,
    surrogate: AbstractSurrogate | None = None,
) -> Network:
    """A graph of NIR as a model to run and to train.

        model = from_nir(nir.read("network.nir"), dt=1.0, reset="hard", integrator="euler")
        out, state = model(x, model.init_state())

    A graph holds neither the length of a step, nor the kind of a reset, nor how a step is made. Those that `to_nir`
    wrote hold them in their metadata: there they may be left out, and the layers are those that were written, to the
    last bit. `v_reset` is read. What NIR has no place for at all is new: surrogates and where gradients stop.

    **Arguments**

    - `graph`: a `nir.NIRGraph`, with one input and one output, of flat layers.
    - `dt`: the length of a step, in milliseconds.
    - `reset`: `"soft"`, which subtracts `v_threshold - v_reset`, or `"hard"`, which sets V to `v_reset`.
    - `integrator`: how a step is made: `"exponential"` keeps exp(-dt / tau), as rockpool and sinabs do, `"euler"`
      1 - dt / tau, as norse, snnTorch and spyx do.
    - `leaky_reset`: does the reset come before the leak? True if nobody says.
    - `unit`: of the times of the model, `dt` included, in seconds.
    - `surrogate`: the spike function of all neurons; `Triangular()` if None.

    **Returns** a `Network`. A parameter that all units of a layer share is a constant, another one an array, and so
    trained.

    **Raises** `ImportError` without the extra `eqx_etrace[nir]`; `TypeError` for what is no graph; `ValueError` where
    something must be asked for, where it contradicts the metadata, and for nodes that no layer has the equation of.
    It warns (`UserWarning`) of numbers that mean something else to the package that wrote them.

    Source: Pedersen et al., "Neuromorphic intermediate representation: a unified instruction set for interoperable
    brain-inspired computing", Nature Communications 2024.
    """
    for what, given, allowed in (
        ("reset", reset, ("soft", "hard", None)),
        ("integrator", integrator, ("exponential", "euler", None)),
    ):
        if given not in allowed:
            raise ValueError(f"`{what}` is {given!r}; it must be {allowed[0]!r} or {allowed[1]!r}.")
    _check_time("dt", dt)
    _check_time("unit", unit)
    if not isinstance(surrogate, AbstractSurrogate | None):
        raise TypeError(f"`surrogate` is {surrogate!r}; it must be a spike function, such as `Arctan()`.")
    how = How(dt, reset, integrator, leaky_reset, unit, Triangular() if surrogate is None else surrogate)
    parted = Graph(graph)
    target = graph.metadata.get("target")
    if target is not None:
        raise ValueError(
            f"The graph was written for {target.decode() if isinstance(target, bytes) else target}: its numbers are "
            "those under which that package gives the same spikes, and mean something else here. Write one without "
            "`for_target` to read it here."
        )
    warn_of_marks(parted.nodes, how)
    return with_delays(parted.network(how))


def _check_time(what: str, value: Any) -> None:
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, float | int):
        raise TypeError(f"`{what}` is {value!r}; it must be a number, without a unit.")
    if not 0 < value < math.inf:
        raise ValueError(f"`{what}` is {value}; it must be longer than zero.")
