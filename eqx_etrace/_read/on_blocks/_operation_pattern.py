"""The pattern of one operation, applied to the pattern of its operand."""

from collections.abc import Callable, Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse as sp

from ..primitives import Contraction, Flow
from ..program import Aligned, Equation, indices, Merged, Moved, NONE, Program
from ._sparse import check_entries, everything, Matrix, merge, operation, Pattern, take, times
from ._zero_elements import Zeros


def carry(program: Program, eqn: Equation, i: int, j: int, pattern: Pattern, zeros: Zeros) -> Pattern:
    """The pattern of output j, as far as it comes from operand i."""
    link, out_shape = program.links(eqn, i, j), program.shape(eqn.outputs[j])
    if isinstance(link, Aligned):
        return _masked(pattern, zeros.of(eqn.inputs[1 - i]), out_shape) if eqn.traits.is_product else pattern
    if isinstance(link, Moved):
        return take(pattern, link.taken)
    if isinstance(link, Merged):
        return merge(pattern, link.target, int(np.prod(out_shape)))
    of_operation = _of_operation(program, eqn, i, zeros)
    return everything(int(np.prod(out_shape)), pattern) if of_operation is None else times(of_operation, pattern)


def _of_operation(program: Program, eqn: Equation, operand: int, zeros: Zeros) -> Pattern | None:
    """Which elements of one operand enter which element of the output; None if nothing is known of it."""
    find = _BY_FLOW.get(eqn.traits.flow)
    return None if find is None else find(program, eqn, operand, zeros)


def _masked(pattern: Pattern, nonzero: np.ndarray | None, shape: tuple[int, ...]) -> Pattern:
    """The rows where the other factor can be anything but zero."""
    if nonzero is None:
        return pattern
    return take(pattern, np.where(np.broadcast_to(nonzero, shape), indices(shape), NONE))


def _lines(program: Program, eqn: Equation, operand: int, zeros: Zeros) -> Pattern:
    """All elements of one line along an axis depend on one another."""
    del zeros
    shape, axis = program.shape(eqn.inputs[operand]), eqn.params[eqn.traits.axis]
    check_entries(int(np.prod(shape)) * shape[axis])
    line = np.broadcast_to(np.take(indices(shape), [0], axis), shape)
    first, of = np.unique(line, return_inverse=True)
    members = sp.csr_array((np.ones(of.size, bool), (of.ravel(), np.arange(of.size))), shape=(first.size, of.size))
    return operation(of, members)


def _dot(program: Program, eqn: Equation, operand: int, zeros: Zeros) -> Pattern:
    """Which elements of one operand enter which element of the output, the other operand's zeros left out."""
    contraction = Contraction.of([program.shape(v) for v in eqn.inputs], eqn.params["dimension_numbers"])
    mine, other = contraction.factors[operand], contraction.factors[1 - operand]
    nonzero = zeros.of(eqn.inputs[1 - operand])
    nonzero = np.ones(other.shape, bool) if nonzero is None else np.broadcast_to(nonzero, other.shape)
    (b, m, k), n = mine.sizes, other.sizes[1]
    numbered, weight = mine.apart(indices(mine.shape)), other.apart(nonzero)
    check_entries(m * int(weight.sum()))
    flat, sets = _distinct(weight.reshape(b * n, k))
    # a set is one of few ways to read a row of the operand, for one of its rows
    rows = np.arange(b * m).reshape(b, m, 1)
    kind = flat.reshape(b, 1, n)
    out = contraction.together(rows * len(sets) + kind, operand)
    at_kind, at_k = np.nonzero(sets)
    columns = numbered.reshape(b * m, k)[:, at_k].ravel()
    number = (np.arange(b * m)[:, None] * len(sets) + at_kind).ravel()
    read = sp.csr_array((np.ones(columns.size, bool), (number, columns)), shape=(b * m * len(sets), numbered.size))
    return operation(out, read)


def _distinct(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The number of every row among those that differ, and these."""
    if rows.all():
        return np.zeros(len(rows), int), rows[:1]
    distinct, number = np.unique(rows, axis=0, return_inverse=True)
    return number.ravel(), distinct


def _conv(program: Program, eqn: Equation, operand: int, zeros: Zeros) -> Pattern | None:
    """Places by places, times channels by channels of one group, for every example; of a kernel, nothing is known."""
    del zeros
    if operand != 0:
        return None
    into, kernel, out = eqn.params["dimension_numbers"]
    shape, out_shape = program.shape(eqn.inputs[0]), program.shape(eqn.outputs[0])
    if eqn.params["batch_group_count"] != 1:
        check_entries(int(np.prod(out_shape)) * int(np.prod(shape)))
        return operation(np.zeros(out_shape, int), sp.csr_array(np.ones((1, int(np.prod(shape))), bool)))
    groups = eqn.params["feature_group_count"]
    places = _places(eqn, [shape[d] for d in into[2:]], [program.shape(eqn.inputs[1])[d] for d in kernel[2:]])
    batch, channels, made = shape[into[0]], shape[into[1]], out_shape[out[1]]
    check_entries(batch * places.nnz * made * channels // groups)
    each = batch * groups
    within = np.ones((1, channels // groups), bool)
    read: Matrix = sp.kron(sp.kron(sp.eye_array(each, dtype=bool), within), places).tocsr().astype(bool)
    theirs = np.argsort(indices(shape).transpose(into).ravel())
    place = np.arange(each * places.shape[0]).reshape(each, 1, places.shape[0])
    of = np.broadcast_to(place, (each, made // groups, places.shape[0])).reshape([out_shape[d] for d in out])
    return operation(of.transpose(np.argsort(out)), read[:, theirs])


def _places(eqn: Equation, shape: Sequence[int], kernel: Sequence[int]) -> Matrix:
    """Which place of the output sees which place of the input: a convolution of unit impulses with a kernel of ones."""
    count, axes = int(np.prod(shape)), tuple(range(len(shape) + 2))
    check_entries(count**2)
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


_BY_FLOW: Mapping[Flow, Callable[[Program, Equation, int, Zeros], Pattern | None]] = {
    Flow.CONTRACTED: _dot,
    Flow.CONVOLVED: _conv,
    Flow.LINES: _lines,
}
