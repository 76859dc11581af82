"""The pattern of one operation, applied to the pattern of its operand."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse as sp

from .. import _compat
from ._link import Aligned, indices, Merged, Moved, NONE
from ._primitive import CONV, DOT
from ._program import Equation, Program
from ._sparse import check_entries, everything, Pattern, select, times
from ._zeros import MULTIPLY, Zeros

_ALONG_AN_AXIS = frozenset(_compat.primitives("cumsum cumprod cummax cummin cumlogsumexp"))
_SORT = frozenset(_compat.primitives("sort"))


def carry(program: Program, eqn: Equation, i: int, j: int, pattern: Pattern, zeros: Zeros) -> Pattern:
    link = program.links(eqn, i, j)
    shape, out_shape = program.shape(eqn.inputs[i]), program.shape(eqn.outputs[j])
    if isinstance(link, Aligned):
        return _masked(pattern, zeros.of(eqn.inputs[1 - i]), out_shape) if eqn.primitive in MULTIPLY else pattern
    if isinstance(link, Moved):
        return times(select(link.source, shape), pattern)
    if isinstance(link, Merged):
        return times(select(link.target, out_shape).T.tocsr(), pattern)
    if eqn.primitive is DOT:
        return times(_dot(program, eqn, i, zeros), pattern)
    if eqn.primitive is CONV and i == 0:
        return times(_conv(program, eqn), pattern)
    if eqn.primitive in _ALONG_AN_AXIS:
        return times(_lines(shape, eqn.params["axis"]), pattern)
    if eqn.primitive in _SORT:
        return times(_lines(shape, eqn.params["dimension"]), pattern)
    return everything(int(np.prod(out_shape)), pattern)


def _masked(pattern: Pattern, nonzero: np.ndarray | None, shape: tuple[int, ...]) -> Pattern:
    """The rows where the other factor can be anything but zero."""
    if nonzero is None:
        return pattern
    kept = np.where(np.broadcast_to(nonzero, shape), indices(shape), NONE)
    return select(kept, shape) @ pattern


def _lines(shape: tuple[int, ...], axis: int) -> Pattern:
    """All elements of one line along an axis depend on one another."""
    check_entries(int(np.prod(shape)) * shape[axis])
    line = np.broadcast_to(np.take(indices(shape), [0], axis), shape)
    member = select(line, shape)
    return member @ member.T.tocsr()


def _dot(program: Program, eqn: Equation, operand: int, zeros: Zeros) -> Pattern:
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
    check_entries(m * int(weight.sum()))
    at_b, at_n, at_k = np.nonzero(weight)
    rows, columns = out[at_b, :, at_n].ravel(), numbered[at_b, :, at_k].ravel()
    return sp.csr_array((np.ones(rows.size, bool), (rows, columns)), shape=(b * m * n, numbered.size))


def _conv(program: Program, eqn: Equation) -> Pattern:
    """Places by places, times channels by channels of one group, for every example."""
    into, kernel, out = eqn.params["dimension_numbers"]
    shape, out_shape = program.shape(eqn.inputs[0]), program.shape(eqn.outputs[0])
    if eqn.params["batch_group_count"] != 1:
        check_entries(int(np.prod(out_shape)) * int(np.prod(shape)))
        return sp.csr_array(np.ones((int(np.prod(out_shape)), int(np.prod(shape))), bool))
    groups = eqn.params["feature_group_count"]
    places = _places(eqn, [shape[d] for d in into[2:]], [program.shape(eqn.inputs[1])[d] for d in kernel[2:]])
    batch, channels, made = shape[into[0]], shape[into[1]], out_shape[out[1]]
    check_entries(batch * places.nnz * made * channels // groups)
    within = np.ones((made // groups, channels // groups), bool)
    found: Pattern = sp.kron(sp.kron(sp.eye_array(batch * groups, dtype=bool), within), places).tocsr().astype(bool)
    ours, theirs = (np.argsort(indices(s).transpose(d).ravel()) for s, d in ((out_shape, out), (shape, into)))
    return found[ours][:, theirs]


def _places(eqn: Equation, shape: Sequence[int], kernel: Sequence[int]) -> Pattern:
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
