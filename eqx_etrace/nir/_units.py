"""The layers that a step calls, and whose state is whose.

A layer must hand on its own state: it comes in as a part of the state of the step, and leaves at the same place.
"""

import dataclasses
from collections.abc import Iterator
from typing import Any

import equinox as eqx
import jax
from jaxtyping import PyTree

from .._read import Equation, Step
from ..nn import Expon, LeakyIntegrator
from ._affine import Source
from ._calls import Call, Calls
from ._network import INPUT, OUTPUT
from ._refusals import check_can_be_said, ONE_LANE


@dataclasses.dataclass
class Unit:
    """A layer that takes a step, and the variables of its state as it comes in and as it leaves."""

    name: str
    call: Call
    equation: Equation
    operands: tuple[int, ...]
    """The layer's own arrays, what comes into it, its state."""
    old: tuple[int, ...]
    new: tuple[int, ...]

    @property
    def out(self) -> int:
        return self.equation.outputs[0]

    @property
    def parameters(self) -> tuple[int, ...]:
        """The variables of the layer's own arrays."""
        return self.operands[: self.call.sizes[0]]

    @property
    def heard(self) -> int:
        """What comes into it."""
        return self.operands[self.call.sizes[0]]

    @property
    def gives_its_state(self) -> bool:
        """Is what it gives its state, so that the step may hand on the one for the other?"""
        return isinstance(self.call.layer, Expon | LeakyIntegrator)


class Units:
    """Those of one staged step."""

    def __init__(self, step: Step, calls: Calls):
        self._step = step
        self._same = _identities(step)
        made = [(eqn, calls.of(step.program, eqn)) for eqn in step.program.equations]
        called = {eqn: found for eqn, found in made if found is not None}
        self.all = self._found({eqn: found for eqn, found in called.items() if found[0].is_step})
        self.of = {unit.equation: unit for unit in self.all}
        """By equation."""
        self.owner = {var: unit for unit in self.all for var in unit.old}
        """By the variable of an old state."""
        self._reads = {eqn: found for eqn, found in called.items() if not found[0].is_step}
        for unit in self.all:
            self._check_state(unit)

    def reads_spikes(self, eqn: Equation) -> bool:
        """Does it read the spikes of a state?"""
        return eqn in self._reads

    def whose_spikes(self, eqn: Equation) -> Source:
        """Whose spikes `neuron.spike(state)` reads, and of which step."""
        call, operands = self._reads[eqn]
        state = self._state_of(call, operands)
        found = [unit for unit in self.all if state in (unit.old, unit.new)]
        if not found:
            raise ValueError(
                f"`spike` reads a state that no layer gets or gives ({eqn.source}). Hand it the layer's own."
            )
        (unit,) = found
        if not (call.is_of_same_layer(unit.call) and operands[: call.sizes[0]] == unit.parameters):
            raise ValueError(
                f"`spike` of one neuron reads the state of `{unit.name}`, which is another ({eqn.source}). Its "
                "threshold may be another, too: let the neuron that owns a state read it."
            )
        return Source(unit.name, is_late=state == unit.old)

    def _first(self, var: int) -> int:
        """Of the variables that are the same by being handed on."""
        return self._same.get(var, var)

    def _state_of(self, call: Call, operands: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(map(self._first, operands[len(operands) - call.sizes[-1] :]))

    def _found(self, called: dict[Equation, tuple[Call, tuple[int, ...]]]) -> list[Unit]:
        if not called:
            raise ValueError(
                "The step calls no layer of `eqx_etrace.nn`, so that there is nothing to say in NIR. Neurons that are "
                "written out by hand are not recognised: use `nn.LIF`, `nn.CuBaLIF`, `nn.IF`, `nn.LeakyRateReadout`."
            )
        names = _names([call for call, _ in called.values()])
        return [self._unit(name, eqn, *found) for name, (eqn, found) in zip(names, called.items(), strict=True)]

    def _unit(self, name: str, eqn: Equation, call: Call, operands: tuple[int, ...]) -> Unit:
        check_can_be_said(name, call.layer)
        if [self._step.program.shape(var) for var in operands] != call.shapes:
            raise ValueError(f"The layer `{name}` runs in lanes ({eqn.source}). Give a step of one lane: {ONE_LANE}")
        unit = Unit(name, call, eqn, operands, self._state_of(call, operands), eqn.outputs[1:])
        if unit.gives_its_state:
            self._same[unit.out] = unit.new[0]
        return unit

    def _check_state(self, unit: Unit) -> None:
        """Does it come in as a part of the state, and leave at the same place?"""
        place = {var: i for i, var in enumerate(self._step.states)}
        leaves = [self._first(var) for var in self._step.new_states]
        which = [place.get(var) for var in unit.old]
        if None in which:
            raise ValueError(
                f"The state of `{unit.name}` is changed before the layer gets it ({unit.equation.source}). NIR has no "
                "resets between sequences, or the like: give a step that hands the state to the layer as it is."
            )
        if [leaves[i] for i in which if i is not None] != list(unit.new):
            raise ValueError(
                f"The state of `{unit.name}` is changed after the layer gave it, or handed on at another place "
                f"({unit.equation.source}). NIR has no words for that: return the state that the layer returns."
            )


def _identities(step: Step) -> dict[int, int]:
    """By variable, the first one of those that are the same by being handed on."""
    same: dict[int, int] = {}
    for eqn in step.program.equations:
        if eqn.jaxpr_eqn is None:
            same.update({o: same.get(i, i) for i, o in zip(eqn.inputs, eqn.outputs, strict=True)})
    return same


# Names


def modules_of(tree: PyTree, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every module in a model, with its path."""
    children, _ = jax.tree_util.tree_flatten_with_path(tree, is_leaf=lambda node: node is not tree)
    for keys, child in children:
        here = (*path, *map(_spelled, keys))
        if isinstance(child, eqx.Module):
            yield here, child
        if child is not tree:
            yield from modules_of(child, here)


def _spelled(key: Any) -> str:
    text = str(next(getattr(key, name) for name in ("name", "key", "idx") if hasattr(key, name)))
    return "".join(c if c.isalnum() else "_" for c in text)


def _names(calls: list[Call]) -> list[str]:
    """One for each call: that of the layer, or of its kind, and a number if it is called again."""
    names = [INPUT, OUTPUT]
    paths = [call.path or (type(call.layer).__name__.lower(),) for call in calls]
    for base in map("_".join, _without_front(paths)):
        names.append(next(name for name in _numbered(base) if name not in names))
    return names[2:]


def _numbered(base: str) -> Iterator[str]:
    yield base
    number = 2
    while True:
        yield f"{base}_{number}"
        number += 1


def _without_front(paths: list[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """Paths without what all of them begin with: `layers.lif` and `layers.out` are `lif` and `out`."""
    while all(len(path) > 1 for path in paths) and len({path[0] for path in paths}) == 1:
        paths = [path[1:] for path in paths]
    return paths
