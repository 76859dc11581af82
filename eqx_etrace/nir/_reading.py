"""From a step to a `Network`: which layers it calls, and what each of them hears.

A step is staged with every call of a layer as one equation. What lies between must be affine maps; what a layer hears
is then a sum of matrices times what other layers gave, and these are computed. A layer must hand on its own state: it
comes in as a part of the state of the step, and leaves at the same place.
"""

import dataclasses
import functools
from collections.abc import Callable, Iterator
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from .._read import Equation, Path, stage_step, Step
from .._watched import watching
from ..nn import Expon, LeakyIntegrator
from ._affine import Affine, NoMap, Source, through, Value
from ._calls import Call, Calls
from ._network import INPUT, Network, OUTPUT, Sum, Wire
from ._refusals import check_can_be_said


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


def read_network(step: Callable[..., Any], model: PyTree, state: PyTree, x: Any) -> Network:
    """A step of one lane, as layers and what they hear."""
    calls = Calls()

    @functools.wraps(step)
    def named(model: PyTree, state: PyTree, x: Any) -> Any:
        calls.paths = {id(module): "_".join(path) for path, module in _modules(model)}
        return step(model, state, x)

    with watching(calls), jax.default_matmul_precision("highest"):
        return _Reader(stage_step(named, model, state, (x,)), calls).network(model)


def _modules(tree: PyTree, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every module in a model, with its path."""
    children, _ = jax.tree_util.tree_flatten_with_path(tree, is_leaf=lambda node: node is not tree)
    for keys, child in children:
        here = (*path, *map(_spelled, keys))
        if isinstance(child, eqx.Module):
            yield here, child
        if child is not tree:
            yield from _modules(child, here)


def _spelled(key: Any) -> str:
    text = str(next(getattr(key, name) for name in ("name", "key", "idx") if hasattr(key, name)))
    return "".join(c if c.isalnum() else "_" for c in text)


def _without_front(names: list[str]) -> list[str]:
    """Names without what all of them begin with: `layers_lif` and `layers_out` are `lif` and `out`."""
    parts = [name.split("_") for name in names]
    while len(parts) > 1 and len({p[0] for p in parts}) == 1 and all(len(p) > 1 for p in parts):
        parts = [p[1:] for p in parts]
    return ["_".join(p) for p in parts]


class _Reader:
    """One staged step."""

    def __init__(self, step: Step, calls: Calls):
        self.step = step
        self.program = step.program
        self.same = self._identities()
        self.wholes: list[Any] = []
        """What is a source itself, with nothing done to it."""
        made = [(calls.of(self.program, eqn), eqn) for eqn in self.program.equations]
        called = [(call, eqn) for call, eqn in made if call is not None]
        self.units = self._units([(c, e) for c, e in called if c.is_step])
        self.by_equation = {unit.equation: unit for unit in self.units}
        self.by_old = {unit.old: unit for unit in self.units}
        self.by_new = {unit.new: unit for unit in self.units}
        self.reads = {eqn: call for call, eqn in called if not call.is_step}

    def _identities(self) -> dict[int, int]:
        """By variable, the first one of those that are the same by being handed on."""
        same: dict[int, int] = {}
        for eqn in self.program.equations:
            if eqn.jaxpr_eqn is None:
                same.update({o: same.get(i, i) for i, o in zip(eqn.inputs, eqn.outputs, strict=True)})
        return same

    def _first(self, var: int) -> int:
        return self.same.get(var, var)

    # What is called

    def _units(self, called: list[tuple[Call, Equation]]) -> list[Unit]:
        units: list[Unit] = []
        taken: dict[str, int] = {}
        bases = _without_front([call.name or type(call.layer).__name__.lower() for call, _ in called])
        for (call, eqn), base in zip(called, bases, strict=True):
            taken[base] = taken.get(base, 0) + 1
            name = base if taken[base] == 1 else f"{base}_{taken[base]}"
            check_can_be_said(name, call.layer)
            inputs = eqn.inputs[1:]
            shapes = [self.program.shape(var) for var in inputs]
            if shapes != call.shapes:
                raise ValueError(
                    f"The layer `{name}` runs in lanes ({eqn.source}). Give a step of one lane: {_ONE_LANE}"
                )
            old = tuple(map(self._first, inputs[len(inputs) - call.sizes[-1] :]))
            if isinstance(call.layer, Expon | LeakyIntegrator):  # what it gives is its state
                self.same[eqn.outputs[0]] = eqn.outputs[1]
            units.append(Unit(name, call, eqn, old, eqn.outputs[1:]))
        if not units:
            raise ValueError(
                "The step calls no layer of `eqx_etrace.nn`, so that there is nothing to say in NIR. Neurons that are "
                "written out by hand are not recognised: use `nn.LIF`, `nn.CuBaLIF`, `nn.IF`, `nn.LeakyRateReadout`."
            )
        return units

    def _check_state(self, unit: Unit) -> None:
        """Does it come in as a part of the state, and leave at the same place?"""
        place = {var: i for i, var in enumerate(self.step.states)}
        leaves = [self._first(var) for var in self.step.new_states]
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

    # What they hear

    def network(self, model: PyTree) -> Network:
        """The layers, and what each of them and the output hears."""
        for unit in self.units:
            self._check_state(unit)
        values = self._values(model)
        self._resolve(values)
        layers, heard, sizes = {}, {}, {INPUT: self.program.avals[self._input].size}
        for unit in self.units:
            head = unit.call.sizes[0]
            inputs = unit.equation.inputs[1:]  # without the mark
            layers[unit.name] = self._layer(unit, [values[var] for var in inputs[:head]])
            heard[unit.name] = self._sum(unit.name, values[inputs[head]])
            sizes[unit.name] = _size(unit.name, self.program.shape(unit.out))
        heard[OUTPUT] = self._sum(OUTPUT, values[self._output])
        return Network(layers, heard, tuple(layers), sizes)

    @property
    def _input(self) -> int:
        if len(self.step.inputs_inexact) != 1 or self.step.inputs_rest:
            raise ValueError(
                "The step must take one input, an array of floats; found another dtype, or several arrays."
            )
        (var,) = self.step.inputs_inexact
        _size("the input", self.program.shape(var))
        return var

    @property
    def _output(self) -> int:
        if len(self.step.out_inexact) != 1 or self.step.out_rest:
            paths = [*self.step.out.paths]
            raise ValueError(
                f"The step must return one array of floats beside its state; its output has {len(paths)} arrays. Give "
                "a step that returns what is to be read: `lambda model, state, x: (spikes, state)`."
            )
        return self.step.out_inexact[0]

    def _values(self, model: PyTree) -> dict[int, Value]:
        """Every variable, as a map of the sources. What a layer makes of its state is nothing but its own."""
        own, rest = self.step.model.split(model)
        values: dict[int, Value] = {v: Affine(jnp.asarray(c)) for v, c in self.program.constants.items()}
        for var, leaf in zip((*self.step.parameters, *self.step.model_rest), (*own, *rest), strict=True):
            values[var] = Affine(leaf)
        for i, var in enumerate(self.step.states):
            values[var] = self._whole(Source(f"{_STATE}{i}"), self.program.avals[var])
        for var in self.step.states_rest:
            values[var] = NoMap("state", "", ())
        values[self._input] = self._whole(Source(INPUT), self.program.avals[self._input])
        for eqn in self.program.equations:
            values.update(zip(eqn.outputs, self._outputs(eqn, values), strict=True))
        return values

    def _whole(self, source: Source, like: Any) -> Affine:
        """A source itself."""
        whole = Affine.of(source, like)
        self.wholes += whole.parts.values()
        return whole

    def _outputs(self, eqn: Equation, values: dict[int, Value]) -> list[Value]:
        if eqn in self.by_equation:
            unit = self.by_equation[eqn]
            source = self._whole(Source(unit.name), self.program.avals[unit.out])
            return [source, *(NoMap("state", eqn.source, ()) for _ in unit.new)]
        if eqn in self.reads:
            return [self._whole(self._read(eqn, self.reads[eqn]), self.program.avals[eqn.outputs[0]])]
        return through(eqn, [values[var] for var in eqn.inputs])

    def _read(self, eqn: Equation, call: Call) -> Source:
        """Whose spikes does `neuron.spike(state)` read, and of which step?"""
        state = tuple(map(self._first, eqn.inputs[len(eqn.inputs) - call.sizes[-1] :]))
        unit = self.by_old.get(state) or self.by_new.get(state)
        if unit is None:
            raise ValueError(
                f"`spike` reads a state that no layer gets or gives ({eqn.source}). Hand it the layer's own."
            )
        own = slice(1, 1 + call.sizes[0])
        if not (call.is_of_same_layer(unit.call) and eqn.inputs[own] == unit.equation.inputs[own]):
            raise ValueError(
                f"`spike` of one neuron reads the state of `{unit.name}`, which is another ({eqn.source}). Its "
                "threshold may be another, too: let the neuron that owns a state read it."
            )
        return Source(unit.name, is_late=state in self.by_old)

    def _resolve(self, values: dict[int, Value]) -> None:
        """States of the step that hold what a layer gave: these are what it gave a step ago."""
        own = {var: unit for unit in self.units for var in unit.old}
        held: dict[Source, Source] = {}
        for i, (old, new) in enumerate(zip(self.step.states, self.step.new_states, strict=True)):
            if old in own and isinstance(own[old].call.layer, Expon | LeakyIntegrator):
                held[Source(f"{_STATE}{i}")] = Source(own[old].name, is_late=True)
            elif old not in own:
                held[Source(f"{_STATE}{i}")] = self._held(self.step.state.inexact_paths[i], values[new])
        for var, value in values.items():
            if isinstance(value, Affine) and value.parts:
                values[var] = value.renamed(held)

    def _held(self, path: Path, value: Value) -> Source:
        """What a state that no layer owns holds; one that is `_OTHER` cannot be told."""
        shown = ".".join(map(str, path)) or "the state"
        if isinstance(value, Affine) and not value.constant.any() and len(value.parts) == 1:
            ((source, part),) = value.parts.items()
            plain = not source.is_late and not source.name.startswith(_STATE)
            if plain and part.shape == (len(part),) * 2 and bool((part == jnp.eye(len(part))).all()):
                return Source(source.name, is_late=True)
        return Source(f"{_OTHER}{shown}")

    def _sum(self, name: str, value: Value) -> Sum:
        """What a layer, or the output, hears."""
        if isinstance(value, NoMap):
            raise ValueError(
                f"What `{name}` hears goes through `{value.operation}` ({value.source}), which is no affine map of "
                "what layers and the input give. NIR has no words for it: between layers there may be linear "
                "maps and sums."
            )
        for source in value.parts:
            if source.name.startswith(_OTHER):
                raise ValueError(
                    f"`{name}` hears `{source.name.removeprefix(_OTHER)}` of the state, which is no layer's, and holds "
                    "more than what a layer gave a step ago. NIR knows layers alone: what decays or counts by itself "
                    "must be one, such as `nn.LeakyIntegrator`."
                )
            if source.name.startswith(_STATE):
                raise ValueError(
                    f"`{name}` hears the membrane or the current of a layer. NIR hears what a layer gives."
                )
        wires = [self._wire(source, part) for source, part in value.parts.items()]
        bias = jnp.broadcast_to(value.constant, value.constant.shape)
        return Sum(tuple(wires), bias if bool((bias != 0).any()) else None)

    def _wire(self, source: Source, part: Any) -> Wire:
        is_itself = any(part is whole for whole in self.wholes)
        return Wire(None if is_itself else part.reshape(len(part), -1).T, source.name, source.is_late)

    def _layer(self, unit: Unit, leaves: list[Value]) -> Any:
        """With the numbers of its parameters."""
        if any(isinstance(leaf, NoMap) or leaf.parts for leaf in leaves):
            raise ValueError(f"A parameter of `{unit.name}` depends on data ({unit.equation.source}). NIR has numbers.")
        return unit.call.layer_of([leaf.constant for leaf in leaves if isinstance(leaf, Affine)])


_STATE, _OTHER = "state ", "other state "
_ONE_LANE = "`lambda model, state, x: model(x, state)`, with `x` of shape [inputs] and a state of one lane."


def _size(name: str, shape: tuple[int, ...]) -> int:
    if len(shape) != 1:
        raise ValueError(f"`{name}` has the shape {list(shape)}. Layers of NIR are flat here: {_ONE_LANE}")
    return shape[0]
