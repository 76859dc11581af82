"""From a step to a `Network`: which layers it calls, and what each of them hears.

A step is staged with every call of a layer as one equation. What lies between must be affine maps; what a layer hears
is then a sum of matrices times what other layers gave, and these are computed.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.core import Tracer
from jaxtyping import PyTree

from .._given import in_words
from .._read import Equation, Path, stage_step, Step
from .._watched import watching
from ._affine import Affine, NoMap, Source, through, Value
from ._calls import Calls
from ._network import before, INPUT, Network, OUTPUT, Sum, Wire
from ._refusals import ONE_LANE
from ._units import modules_of, Unit, Units


def read_network(step: Callable[..., Any], model: PyTree, state: PyTree, x: Any) -> Network:
    """A step of one lane, as layers and what they hear."""
    if not callable(step):
        raise TypeError(
            f"The first argument must be the step, a function; found {in_words(step)}. The order is "
            "`(step, model, state, x)`."
        )
    calls = Calls()
    if any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves((model, state))):
        raise TypeError("The model is traced, and a graph holds numbers. Call `to_nir` outside `jax.jit` and the like.")

    @functools.wraps(step)
    def named(held: tuple[PyTree, Any], state: PyTree, x: Any) -> Any:
        calls.paths = {id(module): path for path, module in modules_of(held[0])}
        return step(held[0], state, x)

    held = model, jnp.zeros(())  # a step is staged for its parameters: one that has none is read, too
    with watching(calls), jax.default_matmul_precision("highest"):
        staged = stage_step(named, held, state, (_as_floats(x),))
        return _Reader(staged, Units(staged, calls), state).network(held)


def _as_floats(x: Any) -> Any:
    """Spikes may be integers or booleans; a source is of floats."""
    x = jnp.asarray(x)
    return x if jnp.issubdtype(x.dtype, jnp.inexact) else x.astype(float)


class _Reader:
    """One staged step."""

    def __init__(self, step: Step, units: Units, state: PyTree):
        self.step = step
        self.begin = dict(zip(step.states, step.state.split(state)[0], strict=True))
        self.program = step.program
        self.units = units
        self.held: dict[int, str] = {}
        """States that no layer owns and that hold what one gave, or the input, by variable."""
        self.wholes: list[Any] = []
        """What is a source itself, with nothing done to it."""

    def network(self, model: PyTree) -> Network:
        """The layers, and what each of them and the output hears."""
        values = self._values(model)
        self._resolve(values)
        layers, heard, sizes = {}, {}, {INPUT: self.program.avals[self._input].size}
        for unit in self.units.all:
            layers[unit.name] = self._layer(unit, [values[var] for var in unit.parameters])
            heard[unit.name] = self._sum(unit.name, values[unit.heard])
            sizes[unit.name] = _size(unit.name, self.program.shape(unit.out))
            if self.program.shape(unit.heard) != (sizes[unit.name],):
                raise ValueError(
                    f"`{unit.name}` has {sizes[unit.name]} units and hears {list(self.program.shape(unit.heard))} "
                    f"({unit.equation.source}): give each unit what it hears (`jnp.broadcast_to`)."
                )
            self._check_rest(unit, layers[unit.name], sizes[unit.name])
        heard[OUTPUT] = self._sum(OUTPUT, values[self._output])
        _size("what the step returns", self.program.shape(self._output))
        network = Network(layers, heard, tuple(layers), sizes)
        self._check_held(network)
        return network

    def _check_rest(self, unit: Unit, layer: Any, size: int) -> None:
        """Is the state that of rest? A graph begins there."""
        at_rest = jax.tree.leaves(layer.init_state(size))
        for var, leaf in zip(unit.old, at_rest, strict=True):
            begin = self.begin.get(var)
            if begin is None or begin.dtype not in (jnp.float32, jnp.float64):
                raise ValueError(
                    f"The state of `{unit.name}` is of {begin.dtype if begin is not None else 'another kind'}. Readers "
                    "of NIR compute in single or double precision: take a state of float32."
                )
            if begin.shape != leaf.shape or not bool((begin == leaf).all()):
                raise ValueError(
                    f"The state of `{unit.name}` is not that of rest, and a graph begins at rest. Pass the state that "
                    "`init_state` of its layer gives."
                )

    def _check_held(self, network: Network) -> None:
        """Does a state that holds what a layer gave begin with what the layer gives at rest?"""
        for var, source in self.held.items():
            size = network.sizes[source]
            rest = jnp.zeros(size) if source == INPUT else before(network.layers[source], _rest(network, source))
            if not bool((self.begin[var] == rest).all()):
                raise ValueError(
                    f"The state that holds what `{source}` gave a step before begins with other numbers than it "
                    "gives at rest, and a graph begins at rest. Begin with those."
                )

    @property
    def _input(self) -> int:
        if len(self.step.inputs_inexact) != 1 or self.step.inputs_rest:
            raise ValueError("The step must take one input, an array of real numbers.")
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
            owner = self.units.owner.get(var)
            is_plain = owner is None or owner.gives_its_state
            values[var] = self._whole(Source(f"{_STATE}{i}"), self.program.avals[var]) if is_plain else _OF_A_STATE
        for var in self.step.states_rest:
            values[var] = _OF_A_STATE
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
        unit = self.units.of.get(eqn)
        if unit is not None:
            source = self._whole(Source(unit.name), self.program.avals[unit.out])
            return [source, *(_OF_A_STATE for _ in unit.new)]
        if self.units.reads_spikes(eqn):
            return [self._whole(self.units.whose_spikes(eqn), self.program.avals[eqn.outputs[0]])]
        return through(eqn, [values[var] for var in eqn.inputs])

    def _resolve(self, values: dict[int, Value]) -> None:
        """States of the step that hold what a layer gave: these are what it gave a step ago."""
        held: dict[Source, Source] = {}
        for i, (old, new) in enumerate(zip(self.step.states, self.step.new_states, strict=True)):
            owner = self.units.owner.get(old)
            if owner is not None and owner.gives_its_state:
                held[Source(f"{_STATE}{i}")] = Source(owner.name, is_late=True)
            elif owner is None:
                found = self._held(self.step.state.inexact_paths[i], values[new])
                held[Source(f"{_STATE}{i}")] = found
                if found.is_late:
                    self.held[old] = found.name
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
        if isinstance(value, NoMap) and value.operation == _OF_A_STATE.operation:
            raise ValueError(
                f"`{name}` hears the membrane or the current of a layer, or a state that is no array of floats, such "
                "as a counter or a key. NIR hears what layers give: spikes, or the potential of a `LeakyIntegrator`."
            )
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
        if not value.parts:
            raise ValueError(
                f"`{name}` hears nothing but a constant: neither the input nor a layer. NIR has no such node."
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
_OF_A_STATE = NoMap("what a layer keeps", "", ())


def _rest(network: Network, name: str) -> Any:
    return network.layers[name].init_state((network.sizes[name],))


def _size(name: str, shape: tuple[int, ...]) -> int:
    if len(shape) != 1:
        raise ValueError(f"`{name}` has the shape {list(shape)}. Layers of NIR are flat here: {ONE_LANE}")
    return shape[0]
