"""Which scalar of the new state can depend on which scalar of the old one, in one step.

A **pattern** is a sparse boolean matrix: row i says which sources element i of a variable depends on. Sources are the
elements of chosen variables. Every equation multiplies the patterns of its operands by its own: the identity for
elementwise operations, a selection for movements, a union for contractions, and all-to-all where nothing is known.
Zeros of constant factors (masked weights) are seen; calls and loops are followed inside.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse as sp
from jax.core import Tracer

from .. import _compat
from ._link import Aligned, indices, Merged, Moved, NONE
from ._primitive import broadcasts, constant_value, CONV, DOT, Links, SHAPED
from ._program import Equation, flatten, Program

Pattern = Any
"""A `scipy.sparse.csr_array` of bools, [elements of a variable, sources]."""

_MOST_ENTRIES, _MOST_WORK = 2**25, 2**28
"""The largest pattern, and the most work on one product of two. Beyond that it would take gigabytes and minutes: an
image normalised as a whole has a billion entries. Work is known before it is done."""


class PatternTooLargeError(ValueError):
    """A pattern has too many entries to be written down."""


_ALONG_AN_AXIS = frozenset(_compat.primitives("cumsum cumprod cummax cummin cumlogsumexp"))
_SORT = frozenset(_compat.primitives("sort"))
_SCAN = frozenset(_compat.primitives("scan"))
_COND = frozenset(_compat.primitives("cond"))
_MULTIPLY = frozenset(_compat.primitives("mul"))
_KEEPS_ZERO = frozenset(
    _compat.primitives("neg sin tan tanh sinh asin atan asinh atanh abs sign sqrt square real imag")
)


def find_patterns(
    program: Program,
    equations: Iterable[Equation],
    sources: Mapping[int, Pattern],
    links: Links,
    cut: Collection[tuple[int, int]] = (),
) -> dict[int, Pattern]:
    """The pattern of every variable that depends on the sources, by these equations of a program.

    A source that is computed on the way adds its own. `cut` are (first output, operand) that are not followed.
    """
    found: dict[int, Pattern] = dict(sources)
    zeros = _Zeros(program)
    for eqn in equations:
        followed = [v in found and (eqn.outputs[0], i) not in cut for i, v in enumerate(eqn.inputs) if eqn.outputs]
        if any(followed):
            inputs = [found[v] if here else None for v, here in zip(eqn.inputs, followed, strict=True)]
            try:
                through = _through(program, eqn, inputs, links, zeros)
            except _TooManyEntries as error:
                raise PatternTooLargeError(
                    "The Jacobian of the step is too large to keep influence on blocks of the state: to write down "
                    f"which of its entries can be anything but zero takes more than {error.args[0]:,} operations up to "
                    f"`{eqn.name}` at {eqn.source}. "
                    "Use `DRTRL()` or `PPProp(decay)`, which keep the part that stays in its position."
                ) from None
            for output, pattern in through.items():
                found[output] = _union(found[output], pattern) if output in found else pattern
    return found


class _TooManyEntries(Exception):
    """Not yet said where."""


def _check_entries(count: int, most: int = _MOST_ENTRIES) -> None:
    if count > most:
        raise _TooManyEntries(most)


def _times(first: Pattern, second: Pattern) -> Pattern:
    """Which sources a variable depends on, from what it depends on in between."""
    _check_entries(int(np.diff(second.indptr).astype(np.int64)[first.indices].sum()), _MOST_WORK)
    found = first @ second
    _check_entries(found.nnz)
    return found


def nonzero(program: Program, var: int) -> np.ndarray | None:
    """False where a variable is zero whatever the parameters; None if nowhere."""
    return _Zeros(program).of(var)


def identity(count: int, start: int, total: int) -> Pattern:
    """The pattern of a source: its elements are the columns from `start` on."""
    columns = np.arange(start, start + count)
    return sp.csr_array((np.ones(count, bool), columns, np.arange(count + 1)), shape=(count, total))


def _union(first: Pattern, second: Pattern) -> Pattern:
    return (first + second).astype(bool).tocsr()


def _through(
    program: Program, eqn: Equation, inputs: Sequence[Pattern | None], links: Links, zeros: "_Zeros"
) -> dict[int, Pattern]:
    if eqn.primitive in _SCAN or eqn.primitive in _COND:
        inside = _scan(program, eqn, inputs) if eqn.primitive in _SCAN else _cond(eqn, inputs)
        return {v: p for v, p in zip(eqn.outputs, inside, strict=True) if p is not None and program.is_inexact(v)}
    result: dict[int, Pattern] = {}
    for i, before in enumerate(inputs):
        for j, output in enumerate(eqn.outputs):
            if before is None or links(eqn, i, j) is None:
                continue
            pattern = _carried(program, eqn, i, j, before, links, zeros)
            result[output] = _union(result[output], pattern) if output in result else pattern
    return result


def _carried(
    program: Program, eqn: Equation, i: int, j: int, pattern: Pattern, links: Links, zeros: "_Zeros"
) -> Pattern:
    link = links(eqn, i, j)
    shape, out_shape = program.shape(eqn.inputs[i]), program.shape(eqn.outputs[j])
    if isinstance(link, Aligned):
        return _masked(pattern, zeros.of(eqn.inputs[1 - i]), out_shape) if eqn.primitive in _MULTIPLY else pattern
    if isinstance(link, Moved):
        return _times(_select(link.source, shape), pattern)
    if isinstance(link, Merged):
        return _times(_select(link.target, out_shape).T.tocsr(), pattern)
    if eqn.primitive is DOT:
        return _times(_dot(program, eqn, i, zeros), pattern)
    if eqn.primitive is CONV and i == 0:
        return _times(_conv(program, eqn), pattern)
    if eqn.primitive in _ALONG_AN_AXIS:
        return _times(_lines(shape, eqn.params["axis"]), pattern)
    if eqn.primitive in _SORT:
        return _times(_lines(shape, eqn.params["dimension"]), pattern)
    return _everything(int(np.prod(out_shape)), pattern)


def _select(source: np.ndarray, shape: tuple[int, ...]) -> Pattern:
    """Row e picks element `source[e]`; none where it is negative."""
    flat = source.ravel()
    here = flat >= 0
    rows = np.concatenate([[0], np.cumsum(here)])
    return sp.csr_array((np.ones(here.sum(), bool), flat[here], rows), shape=(flat.size, int(np.prod(shape))))


def _masked(pattern: Pattern, nonzero: np.ndarray | None, shape: tuple[int, ...]) -> Pattern:
    """The rows where the other factor can be anything but zero."""
    if nonzero is None:
        return pattern
    kept = np.where(np.broadcast_to(nonzero, shape), indices(shape), NONE)
    return _select(kept, shape) @ pattern


def _everything(rows: int, pattern: Pattern) -> Pattern:
    """Every element depends on whatever any element does."""
    columns = np.unique(pattern.indices)
    _check_entries(rows * columns.size)
    return sp.csr_array(
        (np.ones(rows * columns.size, bool), np.tile(columns, rows), np.arange(rows + 1) * columns.size),
        shape=(rows, pattern.shape[1]),
    )


def _lines(shape: tuple[int, ...], axis: int) -> Pattern:
    """All elements of one line along an axis depend on one another."""
    _check_entries(int(np.prod(shape)) * shape[axis])
    line = np.broadcast_to(np.take(indices(shape), [0], axis), shape)
    member = _select(line, shape)
    return member @ member.T.tocsr()


def _dot(program: Program, eqn: Equation, operand: int, zeros: "_Zeros") -> Pattern:
    """Which elements of one operand enter which element of the output, the other operand's zeros left out."""
    contracting, batch = eqn.params["dimension_numbers"]
    shape, other = program.shape(eqn.inputs[operand]), program.shape(eqn.inputs[1 - operand])
    nonzero = zeros.of(eqn.inputs[1 - operand])
    nonzero = np.ones(other, bool) if nonzero is None else np.broadcast_to(nonzero, other)
    mine = [d for d in range(len(shape)) if d not in (*contracting[operand], *batch[operand])]
    theirs = [d for d in range(len(other)) if d not in (*contracting[1 - operand], *batch[1 - operand])]

    def size(dims: Sequence[int], of: tuple[int, ...]) -> int:
        return int(np.prod([of[d] for d in dims]))

    b, k = size(batch[operand], shape), size(contracting[operand], shape)
    m, n = size(mine, shape), size(theirs, other)
    numbered = indices(shape).transpose([*batch[operand], *mine, *contracting[operand]]).reshape(b, m, k)
    weight = nonzero.transpose([*batch[1 - operand], *theirs, *contracting[1 - operand]]).reshape(b, n, k)
    out = np.arange(b * m * n).reshape((b, m, n) if operand == 0 else (b, n, m))
    out = out if operand == 0 else out.swapaxes(1, 2)
    _check_entries(m * int(weight.sum()))
    at_b, at_n, at_k = np.nonzero(weight)
    rows, columns = out[at_b, :, at_n].ravel(), numbered[at_b, :, at_k].ravel()
    return sp.csr_array((np.ones(rows.size, bool), (rows, columns)), shape=(b * m * n, numbered.size))


def _conv(program: Program, eqn: Equation) -> Pattern:
    """Places by places, times channels by channels of one group, for every example."""
    into, kernel, out = eqn.params["dimension_numbers"]
    shape, out_shape = program.shape(eqn.inputs[0]), program.shape(eqn.outputs[0])
    if eqn.params["batch_group_count"] != 1:
        _check_entries(int(np.prod(out_shape)) * int(np.prod(shape)))
        return sp.csr_array(np.ones((int(np.prod(out_shape)), int(np.prod(shape))), bool))
    groups = eqn.params["feature_group_count"]
    places = _places(eqn, [shape[d] for d in into[2:]], [program.shape(eqn.inputs[1])[d] for d in kernel[2:]])
    batch, channels, made = shape[into[0]], shape[into[1]], out_shape[out[1]]
    _check_entries(batch * places.nnz * made * channels // groups)
    within = np.ones((made // groups, channels // groups), bool)
    found: Pattern = sp.kron(sp.kron(sp.eye_array(batch * groups, dtype=bool), within), places).tocsr().astype(bool)
    ours, theirs = (np.argsort(indices(s).transpose(d).ravel()) for s, d in ((out_shape, out), (shape, into)))
    return found[ours][:, theirs]


def _places(eqn: Equation, shape: Sequence[int], kernel: Sequence[int]) -> Pattern:
    """Which place of the output sees which place of the input: a convolution of unit impulses with a kernel of ones."""
    count, axes = int(np.prod(shape)), tuple(range(len(shape) + 2))
    _check_entries(count**2)
    params = {
        **eqn.params,
        "dimension_numbers": jax.lax.ConvDimensionNumbers(axes, axes, axes),
        "feature_group_count": 1,
        "preferred_element_type": None,
    }
    with jax.ensure_compile_time_eval():
        impulses = jnp.eye(count, dtype=jnp.float32).reshape(count, 1, *shape)
        assert eqn.primitive is not None
        answers = eqn.primitive.bind(impulses, jnp.ones((1, 1, *kernel), jnp.float32), **params)
    return sp.csr_array(np.asarray(answers).reshape(count, -1).T > 0)


def _inner(held: Any) -> tuple[Program, Links]:
    program = flatten(held, broadcasts)
    return program, Links(program)


def _run(inner: tuple[Program, Links], operands: Sequence[Pattern | None]) -> list[Pattern | None]:
    program, links = inner
    sources = {v: p for v, p in zip(program.inputs, operands, strict=True) if p is not None and program.is_inexact(v)}
    found = find_patterns(program, program.equations, sources, links)
    return [found.get(v) for v in program.outputs]


def _cond(eqn: Equation, operands: Sequence[Pattern | None]) -> list[Pattern | None]:
    result: list[Pattern | None] = [None] * len(eqn.outputs)
    for branch in eqn.params["branches"]:
        result = [_either(a, b) for a, b in zip(result, _run(_inner(branch), operands[1:]), strict=True)]
    return result


def _either(first: Pattern | None, second: Pattern | None) -> Pattern | None:
    return second if first is None else (first if second is None else _union(first, second))


def _scan(program: Program, eqn: Equation, operands: Sequence[Pattern | None]) -> list[Pattern | None]:
    """Every slice of an input may meet every step: the carry grows until it grows no more."""
    constants, carried = _compat.scan_sizes(eqn.params)
    inner = _inner(eqn.params["jaxpr"])
    length = eqn.params["length"]
    over = [
        None if p is None else _fold(p, length, program.shape(v))
        for v, p in zip(eqn.inputs[constants + carried :], operands[constants + carried :], strict=True)
    ]
    carry, out = list(operands[constants : constants + carried]), []
    for _ in range(length):
        out = _run(inner, [*operands[:constants], *carry, *over])
        grown = [_either(a, b) for a, b in zip(carry, out[:carried], strict=True)]
        if [p is None or p.nnz for p in carry] == [p is None or p.nnz for p in grown]:
            break
        carry = grown
    stacked = [None if p is None else sp.vstack([p] * length).tocsr() for p in out[carried:]]
    return [*carry, *stacked]


def _fold(pattern: Pattern, length: int, shape: tuple[int, ...]) -> Pattern:
    """What any slice along the leading axis depends on."""
    return _select(np.broadcast_to(indices(shape[1:]), shape), shape[1:]).T.tocsr() @ pattern


class _Zeros:
    """Where values are zero by structure: constants, and what multiplies or moves them."""

    def __init__(self, program: Program):
        self.program = program
        self._known: dict[int, np.ndarray | None] = {}

    def of(self, var: int) -> np.ndarray | None:
        """False where the variable is zero whatever the parameters; None if nowhere."""
        if var not in self._known:
            self._known[var] = self._find(var)
        return self._known[var]

    def _find(self, var: int) -> np.ndarray | None:
        value = constant_value(self.program, var) if self._is_constant(var) else None
        if value is not None:
            return None if (value != 0).all() else np.asarray(value != 0)
        eqn = self.program.producer.get(var)
        if eqn is None:
            return None
        shape = self.program.shape(var)
        masks = [self.of(v) for v in eqn.inputs] if eqn.primitive in _MULTIPLY | _KEEPS_ZERO | set(SHAPED) else []
        if all(mask is None for mask in masks):
            return None
        if eqn.primitive in SHAPED:
            return np.asarray(SHAPED[eqn.primitive](masks[0], **eqn.params))
        return np.logical_and.reduce([np.broadcast_to(m, shape) for m in masks if m is not None])

    def _is_constant(self, var: int) -> bool:
        if var in self.program.constants:
            return not isinstance(self.program.constants[var], Tracer)
        eqn = self.program.producer.get(var)
        return eqn is not None and bool(eqn.inputs) and all(self._is_constant(v) for v in eqn.inputs)
