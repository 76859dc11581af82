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
from ._refusals import check_can_be_said, ONE_LANE


@dataclasses.dataclass
class Unit:
    """A layer that takes a step, and the variables of its state as it comes in and as it leaves."""

    name: str
    call: Call
    equation: Equation
    old: tuple[int, ...]
    new: tuple[int, ...]

    @property
    def out(self) -> int:
        return self.equation.outputs[0]

    @property
    def parameters(self) -> tuple[int, ...]:
        """The variables of the layer's own arrays; the first operand numbers the call."""
        return self.equation.inputs[1 : 1 + self.call.sizes[0]]

    @property
    def heard(self) -> int:
        """What comes into it."""
        return self.equation.inputs[1 + self.call.sizes[0]]

    @property
    def gives_its_state(self) -> bool:
        """Is what it gives its state, so that the step may hand on the one for the other?"""
        return isinstance(self.call.layer, Expon | LeakyIntegrator)


class Units:
    """Those of one staged step."""

    def __init__(self, step: Step, calls: Calls):
        self._step = step
        self._same = _identities(step)
        made = [(calls.of(step.program, eqn), eqn) for eqn in step.program.equations]
        called = [(call, eqn) for call, eqn in made if call is not None]
        self.all = self._found([(call, eqn) for call, eqn in called if call.is_step])
        self.of = {unit.equation: unit for unit in self.all}
        """By equation."""
        self.owner = {var: unit for unit in self.all for var in unit.old}
        """By the variable of an old state."""
        self._reads = {eqn: call for call, eqn in called if not call.is_step}
        for unit in self.all:
            self._check_state(unit)

    def reads_spikes(self, eqn: Equation) -> bool:
        """Does it read the spikes of a state?"""
        return eqn in self._reads

    def whose_spikes(self, eqn: Equation) -> Source:
        """Whose spikes `neuron.spike(state)` reads, and of which step."""
        call = self._reads[eqn]
        state = tuple(map(self._first, eqn.inputs[len(eqn.inputs) - call.sizes[-1] :]))
        found = [unit for unit in self.all if state in (unit.old, unit.new)]
        if not found:
            raise ValueError(
                f"`spike` reads a state that no layer gets or gives ({eqn.source}). Hand it the layer's own."
            )
        (unit,) = found
        if not (call.is_of_same_layer(unit.call) and eqn.inputs[1 : 1 + call.sizes[0]] == unit.parameters):
            raise ValueError(
                f"`spike` of one neuron reads the state of `{unit.name}`, which is another ({eqn.source}). Its "
                "threshold may be another, too: let the neuron that owns a state read it."
            )
        return Source(unit.name, is_late=state == unit.old)

    def _first(self, var: int) -> int:
        """Of the variables that are the same by being handed on."""
        return self._same.get(var, var)

    def _found(self, called: list[tuple[Call, Equation]]) -> list[Unit]:
        if not called:
            raise ValueError(
                "The step calls no layer of `eqx_etrace.nn`, so that there is nothing to say in NIR. Neurons that are "
                "written out by hand are not recognised: use `nn.LIF`, `nn.CuBaLIF`, `nn.IF`, `nn.LeakyRateReadout`."
            )
        names = _names([call for call, _ in called])
        return [self._unit(name, call, eqn) for name, (call, eqn) in zip(names, called, strict=True)]

    def _unit(self, name: str, call: Call, eqn: Equation) -> Unit:
        check_can_be_said(name, call.layer)
        if [self._step.program.shape(var) for var in eqn.inputs[1:]] != call.shapes:
            raise ValueError(f"The layer `{name}` runs in lanes ({eqn.source}). Give a step of one lane: {ONE_LANE}")
        old = tuple(map(self._first, eqn.inputs[len(eqn.inputs) - call.sizes[-1] :]))
        unit = Unit(name, call, eqn, old, eqn.outputs[1:])
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


def modules_of(tree: PyTree, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    """Every module in a model, with its path as a name."""
    children, _ = jax.tree_util.tree_flatten_with_path(tree, is_leaf=lambda node: node is not tree)
    for keys, child in children:
        here = (*path, *map(_spelled, keys))
        if isinstance(child, eqx.Module):
            yield "_".join(here), child
        if child is not tree:
            yield from modules_of(child, here)


def _spelled(key: Any) -> str:
    text = str(next(getattr(key, name) for name in ("name", "key", "idx") if hasattr(key, name)))
    return "".join(c if c.isalnum() else "_" for c in text)


def _names(calls: list[Call]) -> list[str]:
    """One for each call: that of the layer, or of its kind, and a number if it is called again."""
    names: list[str] = []
    for base in _without_front([call.name or type(call.layer).__name__.lower() for call in calls]):
        names.append(next(name for name in _numbered(base) if name not in names))
    return names


def _numbered(base: str) -> Iterator[str]:
    yield base
    number = 2
    while True:
        yield f"{base}_{number}"
        number += 1


def _without_front(names: list[str]) -> list[str]:
    """Names without what all of them begin with: `layers_lif` and `layers_out` are `lif` and `out`."""
    parts = [name.split("_") for name in names]
    while len(parts) > 1 and len({p[0] for p in parts}) == 1 and all(len(p) > 1 for p in parts):
        parts = [p[1:] for p in parts]
    return ["_".join(p) for p in parts]
