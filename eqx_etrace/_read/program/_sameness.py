"""Which elements of a variable are equal, whatever the numbers.

A scalar that is broadcast is the same everywhere, a row that is broadcast the same along the new axis. Labels say it:
elements with equal labels are equal. What is not known to be equal has labels of its own.
"""

import functools
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from jax.core import Tracer

from ... import _jax
from ..primitives import Flow
from ._link import indices, Positions
from ._program import Equation, Program
from ._propagate import propagate

_LARGE = 100_000
"""Constants with more elements are not looked at."""
_BY_ELEMENT = (Flow.ALIGNED, Flow.STOPPED)
_MOVEMENTS = (Flow.REARRANGED, Flow.PARTED, Flow.JOINED)


def sameness(program: Program, wanted: Iterable[int], known: Mapping[int, Positions]) -> dict[int, Positions]:
    """The labels of these variables, as far as anything is known of them. `known` are those of the inputs."""
    equations = _leading_to(program, wanted)

    def transfer(eqn: Equation, operands: Sequence[Positions | None]) -> list[Positions] | None:
        labels = [_own(program, v) if own is None else own for v, own in zip(eqn.inputs, operands, strict=True)]
        return _through(program, eqn, labels)

    return propagate(equations, known, transfer, lambda first, _: first)


def _leading_to(program: Program, wanted: Iterable[int]) -> list[Equation]:
    """The equations that hand equal elements on to these variables."""
    needed, equations = set(wanted), []
    for eqn in reversed(program.equations):
        if needed.intersection(eqn.outputs) and _hands_on(program, eqn):
            equations.append(eqn)
            needed.update(eqn.inputs)
    return equations[::-1]


def _own(program: Program, var: int) -> Positions:
    """Of a variable that nothing is known of: only a constant has equal elements."""
    shape, value = program.shape(var), program.constants.get(var)
    if value is None or isinstance(value, Tracer) or _jax.is_key(value) or np.size(value) > _LARGE:
        return indices(shape)
    whole = np.ascontiguousarray(np.broadcast_to(np.asarray(value), shape)).reshape(-1)
    # By their bits: 0.0 and -0.0 are equal, and what is made of them need not be.
    bits = whole.view(np.dtype((np.void, whole.itemsize)))
    return np.unique(bits, return_inverse=True)[1].reshape(shape)


def _hands_on(program: Program, eqn: Equation) -> bool:
    flow = eqn.traits.flow
    if flow is Flow.REDUCED:  # along axes of one element, as what transposes a broadcast is
        shape = program.shape(eqn.inputs[0])
        return all(shape[axis] == 1 for axis in eqn.params["axes"])
    if flow in _BY_ELEMENT:
        return _is_by_element(program, eqn)
    return flow is Flow.PAIRED or (flow in _MOVEMENTS and eqn.traits.move is not None)


def _is_by_element(program: Program, eqn: Equation) -> bool:
    """Are all operands scalars or of the shape of the output, and none read along axes?"""
    shapes = [(), program.shape(eqn.outputs[0])]
    return "axes" not in eqn.params and all(program.shape(v) in shapes for v in eqn.inputs)


def _through(program: Program, eqn: Equation, labels: list[Positions]) -> list[Positions]:
    if eqn.traits.flow is Flow.PAIRED:
        return labels
    if eqn.traits.flow is Flow.REDUCED:
        return [labels[0].reshape(program.shape(eqn.outputs[0]))]
    if eqn.traits.flow in _BY_ELEMENT:
        return [functools.reduce(_both, labels, np.zeros(program.shape(eqn.outputs[0]), int))]
    return _moved(eqn, labels)


def _moved(eqn: Equation, labels: list[Positions]) -> list[Positions]:
    """Through a movement; labels of different operands are different ones."""
    apart = np.cumsum([0, *(int(of.max(initial=-1)) + 1 for of in labels)])
    assert eqn.traits.move is not None
    moved = eqn.traits.move(*(of + start for of, start in zip(labels, apart, strict=False)), **eqn.params)
    return [np.asarray(one) for one in (moved if eqn.traits.flow is Flow.PARTED else [moved])]


def _both(first: Positions, second: Positions) -> Positions:
    """Equal where both are."""
    if second.size <= 1 or not second.any():
        return first
    pairs = first * (int(second.max()) + 1) + second
    return np.unique(pairs, return_inverse=True)[1].reshape(first.shape)


def classes(labels: Sequence[Positions]) -> Positions:
    """The labels of what has several parts, each of one shape: equal where all parts are."""
    first, *rest = (np.asarray(of - of.min(initial=0)) for of in labels)  # of no axes NumPy makes a scalar
    return functools.reduce(_both, rest, first)
