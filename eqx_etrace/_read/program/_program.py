"""Stage 1: the step as one flat list of equations.

The step is staged once by `jax.make_jaxpr`. Call-like equations (`jit`, `checkpoint`) are inlined, so
that what follows sees one straight line of arithmetic; calls with a custom derivative rule stay
whole, so that the rule survives. Variables become integers, every closed-over array and literal an
explicit constant, and the broadcasting that JAX leaves implicit is written out.

The equations fall in two: the **prologue** depends on the model alone (masks, transposes, softplus
of a time constant ...) and holds the effective weights; the **body** meets data.
"""

import dataclasses
import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp

from ... import _jax, _source
from ..primitives import Flow, IDENTITY, is_accounted_for, TABLE, Traits, traits_of
from ._link import Link
from ._sparse_product import written_out

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
        try:
            return _jax.bind(self.jaxpr_eqn, operands)
        except NotImplementedError as error:
            raise NotImplementedError(
                f"{error}: JAX cannot do this to `{self.name}` ({self.source}), and so not differentiate the "
                "step. Put its operands through `jax.lax.stop_gradient`, or give it a rule with `jax.custom_jvp`."
            ) from error
        except Exception as error:
            if self.may_have_a_rule:
                error.add_note(f"It was raised by `{self.name}` ({self.source}), a part of the step.")
            raise


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

    def __init__(self, program: "Program"): ...

    def __call__(self, eqn: Equation, operand: int, output: int) -> Link | None: ...

    def unproven(self, eqn: Equation) -> list[Equation]: ...


@dataclasses.dataclass(frozen=True)
class Program:
    """A straight-line program; variables are indices into `avals`."""

    avals: Sequence[Any]
    """The type of every variable: of an array, or of a mutable one."""
    constants: Mapping[int, Any]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    equations: tuple[Equation, ...]
    table: type[Table] | None = None
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


class _Inliner:
    """Rewrites nested jaxprs into one list of equations."""

    def __init__(self, table: type[Table] | None, by_value: bool):
        self.avals: list[Any] = []
        self.constants: dict[int, Any] = {}
        self.equations: list[Equation] = []
        self._table = table
        self._by_value = by_value

    def variable(self, aval: Any) -> int:
        self.avals.append(aval)
        return len(self.avals) - 1

    def constant(self, aval: Any, value: Any) -> int:
        var = self.variable(aval)
        self.constants[var] = _jax.as_jax(value)
        return var

    def inline(self, jaxpr: Any, consts: Sequence[Any], arguments: Sequence[int]) -> tuple[int, ...]:
        """Append the equations of a jaxpr, run on these variables; its outputs."""
        env = dict(zip(jaxpr.invars, arguments, strict=True))
        held = consts or [None] * len(jaxpr.constvars)  # an open jaxpr does not say what its constants are
        for var, value in zip(jaxpr.constvars, held, strict=True):
            env[var] = self.variable(var.aval) if value is None else self.constant(var.aval, value)

        for eqn in jaxpr.eqns:
            operands = self._read(eqn.invars, env)
            inner = self._body(eqn)
            if inner is not None:
                outputs = self._from_call(eqn, inner, operands)
            else:
                outputs = tuple(self.variable(v.aval) for v in eqn.outvars)
                self._append(Equation(eqn, operands, outputs))
            env.update(zip(eqn.outvars, outputs, strict=True))
        return self._read(jaxpr.outvars, env)

    def _read(self, atoms: Sequence[Any], env: Mapping[Any, int]) -> tuple[int, ...]:
        return tuple(self.constant(a.aval, a.val) if isinstance(a, _jax.Literal) else env[a] for a in atoms)

    def _body(self, eqn: Any) -> tuple[Any, Sequence[Any]] | None:
        """What is written out instead of an equation; None if it stays."""
        if eqn.primitive in _jax.INLINED or (self._by_value and eqn.primitive in _jax.CUSTOM_RULES):
            return _jax.body(eqn.params)
        staged = written_out(eqn) or _jax.only_round(eqn)
        if staged is None and self._by_value and eqn.primitive not in TABLE:
            staged = _jax.written_out(eqn)
        return None if staged is None else _jax.opened(staged)

    def _from_call(self, eqn: Any, inner: tuple[Any, Sequence[Any]], operands: Sequence[int]) -> tuple[int, ...]:
        start = len(self.equations)
        outputs = self.inline(*inner, operands)
        if not {"jaxpr", "call_jaxpr"} & eqn.params.keys() or _source.is_foreign(eqn.params):
            self._attribute(start, eqn)
        return outputs

    def _attribute(self, start: int, origin: Any) -> None:
        """The equations from `start` on were written out for this one."""
        self.equations[start:] = [dataclasses.replace(e, origin=origin) for e in self.equations[start:]]

    def _append(self, eqn: Equation) -> None:
        if self._table is not None and eqn.traits.flow is Flow.ALIGNED:
            shape = self.avals[eqn.outputs[0]].shape
            explicit = tuple(self._broadcast(v, shape, eqn.jaxpr_eqn) for v in eqn.inputs)
            eqn = dataclasses.replace(eqn, inputs=explicit)
        self.equations.append(eqn)

    def _broadcast(self, var: int, shape: tuple[int, ...], origin: Any) -> int:
        aval = self.avals[var]
        if aval.shape == shape or var in self.constants or not jnp.issubdtype(aval.dtype, jnp.inexact):
            return var
        closed = jax.make_jaxpr(lambda x: jnp.broadcast_to(x, shape))(aval)
        start = len(self.equations)
        (result,) = self.inline(*_jax.opened(closed), [var])
        self._attribute(start, origin)
        return result


def flatten(closed: _jax.Staged, table: type[Table] | None = None, *, by_value: bool = False) -> Program:
    """Inline a staged function. With a table, what its equations broadcast is written out.

    With `by_value`, calls with a derivative rule of their own are inlined, too, and primitives that are functions of
    others: nobody will differentiate it.
    """
    build = _Inliner(table, by_value)
    jaxpr, consts = _jax.opened(closed)
    inputs = tuple(build.variable(v.aval) for v in jaxpr.invars)
    outputs = build.inline(jaxpr, consts, inputs)
    return Program(build.avals, build.constants, inputs, outputs, tuple(build.equations), table)


def without_derivative(program: Program, which: Sequence[int]) -> Program:
    """Let no derivative through to these outputs; each gets a variable of its own."""
    avals, equations, outputs = list(program.avals), list(program.equations), list(program.outputs)
    for i in which:
        stopped = jax.make_jaxpr(jax.lax.stop_gradient)(avals[outputs[i]])
        (eqn,) = _jax.opened(stopped)[0].eqns
        avals.append(avals[outputs[i]])
        equations.append(Equation(eqn, (outputs[i],), (len(avals) - 1,)))
        outputs[i] = len(avals) - 1
    return dataclasses.replace(program, avals=avals, outputs=tuple(outputs), equations=tuple(equations))


def with_fresh_outputs(program: Program, which: Sequence[int]) -> Program:
    """Give each of these outputs a variable of its own, defined by an equation of its own."""
    avals, equations, outputs = list(program.avals), list(program.equations), list(program.outputs)
    defined = {v for eqn in equations for v in eqn.outputs}
    taken: set[int] = set()
    for i in which:
        var = outputs[i]
        if var not in defined or var in taken:
            avals.append(avals[var])
            outputs[i] = len(avals) - 1
            equations.append(Equation(None, (var,), (outputs[i],)))
        taken.add(outputs[i])
    return dataclasses.replace(program, avals=avals, outputs=tuple(outputs), equations=tuple(equations))


def made_first(
    program: Program, function: Callable[..., Any], given: Sequence[jax.ShapeDtypeStruct], made: int
) -> tuple[Program, tuple[int, ...]]:
    """Compute an input from others, before all else; the variables of these."""
    build = _Inliner(program.table, by_value=False)
    build.avals, build.constants = list(program.avals), dict(program.constants)
    jaxpr, consts = _jax.opened(jax.make_jaxpr(function)(*given))
    variables = tuple(build.variable(v.aval) for v in jaxpr.invars)
    (result,) = build.inline(jaxpr, consts, variables)
    build.equations.append(Equation(None, (result,), (made,)))
    reader = next((eqn for eqn in program.equations if made in eqn.inputs), None)
    equations = (*_for(reader, build.equations), *program.equations)
    return _with(program, build, equations), variables


def made_last(program: Program, function: Callable[..., Any], given: int) -> tuple[Program, tuple[int, ...]]:
    """Compute more from one variable, after all else; the variables of what is computed."""
    build = _Inliner(program.table, by_value=False)
    build.avals, build.constants = list(program.avals), dict(program.constants)
    variables = build.inline(*_jax.opened(jax.make_jaxpr(function)(program.avals[given])), [given])
    equations = (*program.equations, *_for(program.producer[given], build.equations))
    return _with(program, build, equations), variables


def _for(eqn: Equation | None, equations: Sequence[Equation]) -> list[Equation]:
    """Equations that were written out for this one."""
    origin = None if eqn is None else eqn.jaxpr_eqn if eqn.origin is None else eqn.origin
    return [dataclasses.replace(made, origin=origin) for made in equations]


def _with(program: Program, build: _Inliner, equations: tuple[Equation, ...]) -> Program:
    return dataclasses.replace(program, avals=build.avals, constants=build.constants, equations=equations)
