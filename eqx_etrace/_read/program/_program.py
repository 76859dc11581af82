"""Stage 1: the step as one flat list of equations.

Variables are integers, every closed-over array and literal is an explicit constant, and the broadcasting that JAX
leaves implicit is written out.

The equations fall in two: the **prologue** depends on the model alone (masks, transposes, softplus of a time constant
...) and holds the effective weights; the **body** meets data.
"""

import dataclasses
import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import jax.numpy as jnp

from ... import _jax, _source
from ..._sharding import Varying, varying_as
from ..primitives import IDENTITY, is_accounted_for, TABLE, Traits, traits_of
from ._link import Link

UNKNOWN = _jax.Primitive("unknown")
"""Without a row in the table of primitives."""


@dataclasses.dataclass(frozen=True)
class Equation:
    """`outputs = primitive(inputs)`; `jaxpr_eqn` is None for the identity."""

    jaxpr_eqn: Any
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    origin: Any = None
    """The user's equation that this one was written out for, if it is not theirs."""

    @functools.cached_property
    def primitive(self) -> _jax.Primitive | None:
        """`UNKNOWN` if it has a parameter that no row accounts for."""
        if self.jaxpr_eqn is None:
            return None
        known = is_accounted_for(self.jaxpr_eqn.primitive, self.jaxpr_eqn.params)
        return self.jaxpr_eqn.primitive if known else UNKNOWN

    @functools.cached_property
    def traits(self) -> Traits:
        """What is known of it."""
        eqn = self.jaxpr_eqn
        return IDENTITY if eqn is None else traits_of(eqn.primitive, eqn.params)

    @functools.cached_property
    def params(self) -> dict[str, Any]:
        return {} if self.jaxpr_eqn is None else self.jaxpr_eqn.params

    @property
    def name(self) -> str:
        primitive = None if self.jaxpr_eqn is None else self.jaxpr_eqn.primitive
        return str(self.params.get("name", primitive) if self.is_custom else primitive)

    @property
    def is_custom(self) -> bool:
        """Does it carry a derivative rule of its own?"""
        return self.jaxpr_eqn is not None and self.jaxpr_eqn.primitive in _jax.CUSTOM_RULES

    @property
    def may_have_a_rule(self) -> bool:
        """May it have one that no table knows of?"""
        return self.jaxpr_eqn is not None and not self.is_custom and _jax.may_have_a_rule(self.jaxpr_eqn)

    @property
    def is_solve(self) -> bool:
        return self.jaxpr_eqn is not None and _jax.is_solve(self.jaxpr_eqn)

    @property
    def has_effects(self) -> bool:
        return self.jaxpr_eqn is not None and bool(self.jaxpr_eqn.effects) and not self.is_collective

    @property
    def is_collective(self) -> bool:
        """Does it itself reach over a named axis around the step?"""
        return self.jaxpr_eqn is not None and _jax.is_collective(self.jaxpr_eqn)

    @property
    def source(self) -> str:
        eqn = self.jaxpr_eqn if self.origin is None else self.origin
        return "" if eqn is None else _source.source_line(eqn)

    def bind(self, operands: Sequence[Any]) -> list[Any]:
        """Run it; an error names the user's line."""
        if self.jaxpr_eqn is None:
            return list(operands)
        if self.name == "pvary":  # a state that is the same on all devices comes to vary with the model
            return [varying_as(operand, Varying(frozenset(self.params["axes"]))) for operand in operands]
        try:
            return _jax.bind(self.jaxpr_eqn, operands)
        except NotImplementedError as error:
            raise NotImplementedError(
                f"{error}: JAX cannot do this to `{self.name}` ({self.source}), and so not differentiate the "
                "step. Put its operands through `jax.lax.stop_gradient`, or give it a rule with `jax.custom_jvp`."
            ) from error
        except Exception as error:
            if self.may_have_a_rule or isinstance(error, FloatingPointError):  # that of `jax.debug_nans`
                error.add_note(f"It was raised by `{self.name}` ({self.source}), a part of the step.")
            raise


def is_function(eqn: Any) -> bool:
    """Does an equation of JAX give the same for the same operands? One that is not known may ask the world."""
    if eqn.effects:
        return False
    if eqn.primitive in _jax.CUSTOM_RULES or eqn.primitive in _jax.INLINED:
        return all(map(is_function, _jax.body(eqn.params)[0].eqns))
    return eqn.primitive in TABLE and TABLE[eqn.primitive].runs is None


@runtime_checkable
class Runnable(Protocol):
    """An equation, or what stands for one."""

    @property
    def inputs(self) -> tuple[Any, ...]: ...

    @property
    def outputs(self) -> tuple[int, ...]: ...

    def bind(self, operands: Sequence[Any]) -> list[Any]: ...


def evaluate(equations: Iterable[Runnable], values: dict[Any, Any]) -> None:
    """Run equations in order, adding what they compute to `values`."""
    for eqn in equations:
        values.update(zip(eqn.outputs, eqn.bind([values[v] for v in eqn.inputs]), strict=True))


@runtime_checkable
class Table(Protocol):
    """How the operands of an equation of one program reach its outputs, differentiably: `_primitive.Links`."""

    def __call__(self, eqn: Equation, operand: int, output: int) -> Link | None: ...

    def unproven(self, eqn: Equation) -> list[Equation]: ...


MakeTable = Callable[["Program"], Table]


@dataclasses.dataclass(frozen=True)
class Program:
    """A straight-line program; variables are indices into `avals`."""

    avals: Sequence[Any]
    """The type of every variable: of an array, or of a mutable one."""
    constants: Mapping[int, Any]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    equations: tuple[Equation, ...]
    table: MakeTable | None = None
    """What says how its operands reach its outputs; None if nobody asks."""
    moved: frozenset[int] | None = None
    """The inputs by which it is differentiated; None for all."""

    def shape(self, var: int) -> tuple[int, ...]:
        return tuple(self.avals[var].shape)

    def is_moved(self, var: int) -> bool:
        """Is it an input by which the program is differentiated, or no input?"""
        return self.moved is None or var in self.moved or var not in self.inputs

    def is_inexact(self, var: int) -> bool:
        return bool(jnp.issubdtype(self.avals[var].dtype, jnp.inexact))

    @functools.cached_property
    def links(self) -> Table:
        """How the operands of its equations reach their outputs."""
        assert self.table is not None
        return self.table(self)

    @functools.cached_property
    def read(self) -> frozenset[int]:
        """The variables that an equation or the caller reads."""
        return frozenset(self.outputs).union(*(eqn.inputs for eqn in self.equations))

    @functools.cached_property
    def producer(self) -> Mapping[int, Equation]:
        """The equation that defines each variable."""
        return {var: eqn for eqn in self.equations for var in eqn.outputs}
