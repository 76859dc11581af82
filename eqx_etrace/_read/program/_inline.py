"""Stage 1: a staged function as one flat list of equations.

Call-like equations (`jit`, `checkpoint`) are inlined, and short loops unrolled, so that what follows sees one straight
line of arithmetic; calls with a custom derivative rule stay whole, so that the rule survives. What a loop computes of
the same operands in every round is computed once.
"""

import dataclasses
import functools
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from ... import _jax, _source
from ..primitives import Flow, TABLE
from ._program import Equation, is_function, MakeTable, Program
from ._propagate import propagate
from ._sparse_product import written_out

_MOST_ROUNDS = 64
_MOST_EQUATIONS = 1000
"""Of a loop that is unrolled: XLA takes the longer over a program, the longer it is."""
_HELD, _ROUND = 1, 2
"""From what a loop holds, from what is another in each round."""


def _is_short(eqn: Any) -> bool:
    """Is it a `scan` that is short when it is written out?"""
    if not _may_be_unrolled(eqn):
        return False
    rounds, count = eqn.params["length"], _jax.count_equations(eqn.params["jaxpr"])
    return rounds == 1 or (rounds <= _MOST_ROUNDS and rounds * count <= _MOST_EQUATIONS)


def _may_be_unrolled(eqn: Any) -> bool:
    """Is it a `scan` of one round or more, without effects, and with no loop inside that runs who knows how often?"""
    return _jax.is_scan(eqn) and bool(eqn.params["length"]) and not eqn.effects and not _jax.has_while(eqn)


def _meets_other_data_each_round(eqn: Any, is_fixed: Sequence[bool]) -> bool:
    """Does something that is the same in every round, and may be a weight, meet data that is not?

    Written out, each round would be a head of its own, with a trace of its own for the same weight.
    """
    inner = flatten(eqn.params["jaxpr"])
    held = _jax.scan_sizes(eqn.params)[0]
    comes = propagate(inner.equations, _inputs_of_a_round(inner, held, is_fixed), _from_any_operand, operator.or_)
    products = [(one, i) for one in inner.equations for i in one.traits.weights]
    met = [(comes.get(one.inputs[i], 0), comes.get(one.inputs[1 - i], 0)) for one, i in products]
    return any(weight == _HELD and data & _ROUND for weight, data in met)


def _inputs_of_a_round(inner: Program, held: int, is_fixed: Sequence[bool]) -> dict[int, int]:
    """Where the inputs are from that are not fixed; the first of all are held."""
    return {v: _ROUND if i >= held else _HELD for i, v in enumerate(inner.inputs) if i >= held or not is_fixed[i]}


def _from_any_operand(eqn: Equation, operands: Sequence[int | None]) -> list[int | None]:
    bits = functools.reduce(operator.or_, [of or 0 for of in operands], 0)
    return [bits or None for _ in eqn.outputs]


def _rounds(eqn: Any) -> range:
    """Of a `scan`, in the order in which they run."""
    rounds = range(eqn.params["length"])
    return rounds[::-1] if eqn.params["reverse"] else rounds


def _row(t: int, rows: Array) -> Array:
    return jax.lax.index_in_dim(rows, t, keepdims=False)


def _stacked(*rows: Array) -> Array:
    return jnp.stack(rows)


class Inliner:
    """Rewrites nested jaxprs into one list of equations."""

    def __init__(self, table: MakeTable | None, by_value: bool):
        self.avals: list[Any] = []
        self.constants: dict[int, Any] = {}
        self.equations: list[Equation] = []
        self._table = table
        self._by_value = by_value
        self._rounds: dict[tuple[int, tuple[int, ...]], tuple[Any, tuple[int, ...]]] | None = None
        """Within a loop that is unrolled: by equation and operands, the equation and what it made."""

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
            env[var] = self.variable(var.aval) if value is None else self._once(var, var.aval, value)
        for eqn in jaxpr.eqns:
            operands = self._read(eqn.invars, env)
            env.update(zip(eqn.outvars, self._outputs(eqn, operands), strict=True))
        return self._read(jaxpr.outvars, env)

    def _read(self, atoms: Sequence[Any], env: Mapping[Any, int]) -> tuple[int, ...]:
        return tuple(self._once(a, a.aval, a.val) if isinstance(a, _jax.Literal) else env[a] for a in atoms)

    def _once(self, of: Any, aval: Any, value: Any) -> int:
        """A constant; in every round of a loop the same."""
        (var,) = self._made(of, (), lambda: (self.constant(aval, value),))
        return var

    def _outputs(self, eqn: Any, operands: tuple[int, ...]) -> tuple[int, ...]:
        if not is_function(eqn):
            return self._computed(eqn, operands)
        return self._made(eqn, operands, lambda: self._computed(eqn, operands))

    def _made(self, of: Any, operands: tuple[int, ...], make: Callable[[], tuple[int, ...]]) -> tuple[int, ...]:
        """What an equation makes of the same operands is made in the first round of a loop."""
        if self._rounds is None:
            return make()
        key = (id(of), operands)
        if key not in self._rounds:
            self._rounds[key] = (of, make())  # held, so that no other object gets its number
        return self._rounds[key][1]

    def _computed(self, eqn: Any, operands: tuple[int, ...]) -> tuple[int, ...]:
        inner = self._body(eqn)
        if inner is not None:
            return self._from_call(eqn, inner, operands)
        if self._is_unrolled(eqn, operands):
            return self._unrolled(eqn, operands)
        outputs = tuple(self.variable(v.aval) for v in eqn.outvars)
        self._append(Equation(eqn, operands, outputs))
        return outputs

    def _is_unrolled(self, eqn: Any, operands: Sequence[int]) -> bool:
        if not _is_short(eqn):
            return False
        fixed = [var in self.constants for var in operands]
        return eqn.params["length"] == 1 or not _meets_other_data_each_round(eqn, fixed)

    def _unrolled(self, eqn: Any, operands: tuple[int, ...]) -> tuple[int, ...]:
        """A short `scan`, round after round."""
        held, carried = _jax.scan_sizes(eqn.params)
        length, outer = eqn.params["length"], self._rounds
        constants, carry, rows = operands[:held], operands[held : held + carried], operands[held + carried :]
        made: dict[int, tuple[int, ...]] = {}
        self._rounds = {} if outer is None else outer
        for t in _rounds(eqn):
            here = [self._staged(eqn, functools.partial(_row, t), [var]) for var in rows]
            out = self.inline(*_jax.opened(eqn.params["jaxpr"]), [*constants, *carry, *here])
            carry, made[t] = out[:carried], out[carried:]
        self._rounds = outer
        each = zip(*(made[t] for t in range(length)), strict=True)
        return (*carry, *(self._staged(eqn, _stacked, variables) for variables in each))

    def _staged(self, eqn: Any, function: Callable[..., Any], arguments: Sequence[int]) -> int:
        start = len(self.equations)
        closed = jax.make_jaxpr(function)(*(self.avals[var] for var in arguments))
        (result,) = self.inline(*_jax.opened(closed), arguments)
        self._attribute(start, eqn)
        return result

    def _is_inlined(self, eqn: Any) -> bool:
        return eqn.primitive in _jax.INLINED or (self._by_value and eqn.primitive in _jax.CUSTOM_RULES)

    def _body(self, eqn: Any) -> tuple[Any, Sequence[Any]] | None:
        """What is written out instead of an equation; None if it stays."""
        if self._is_inlined(eqn):
            return _jax.body(eqn.params)
        staged = written_out(eqn)
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
        return self._staged(origin, lambda x: jnp.broadcast_to(x, shape), [var])


def flatten(closed: _jax.Staged, table: MakeTable | None = None, *, by_value: bool = False) -> Program:
    """Inline a staged function. With a table, what its equations broadcast is written out.

    With `by_value`, calls with a derivative rule of their own are inlined, too, and primitives that are functions of
    others: nobody will differentiate it.
    """
    build = Inliner(table, by_value)
    jaxpr, consts = _jax.opened(closed)
    inputs = tuple(build.variable(v.aval) for v in jaxpr.invars)
    outputs = build.inline(jaxpr, consts, inputs)
    return Program(build.avals, build.constants, inputs, outputs, tuple(build.equations), table)
