"""The linear recursion that every rule shares, over one step and over a window.

    e[s]  <-  sum_s' D[s, s'] e[s']  +  new[s]

D is a small matrix of rows: one array per pair of states, None where it is zero by structure.
"""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Inexact

from .._trace import Drive, Trace

Value = tuple[Inexact[Array, "..."], ...]
"""One array per state that the trace supports."""
Matrix = tuple[tuple[Inexact[Array, "..."] | None, ...], ...]
"""[s][s'], by row; None where it is zero by structure."""


def roll(
    trace: Trace, value: Value, decay: Matrix, new: Sequence[Inexact[Array, "..."] | None], *, spread: bool = True
) -> Value:
    """sum_s' decay[s, s'] e[s'] + new[s]; `spread` if a row of e has features."""
    advanced = []
    lift = trace.head.spread if spread else lambda rows: rows
    for row, entering in zip(decay, new, strict=True):
        terms = [lift(d) * e for d, e in zip(row, value, strict=True) if d is not None]
        terms += [] if entering is None else [entering]
        advanced.append(sum(terms[1:], terms[0]).astype(trace.dtype))
    return tuple(advanced)


def products(trace: Trace, drives: Drive) -> tuple[Matrix, list[Inexact[Array, "t ..."]]]:
    """D_K ... D_1, and D_K ... D_{t+1} dh_t/dy for every t."""
    states = range(len(trace.states))
    reach = _reachable(trace.couplings)

    def dot(left: Matrix, right: Callable[[int], Array | None], s: int) -> Array:
        terms = [p * q for r in states if (p := left[s][r]) is not None and (q := right(r)) is not None]
        return sum(terms[1:], terms[0]) if terms else jnp.zeros(trace.rows, trace.dtype)

    def body(after: Matrix, drive: Drive) -> tuple[Matrix, list[Array]]:
        entry = [dot(after, lambda r: drive.entry[r], s) for s in states]
        before = tuple(
            tuple(dot(after, lambda r, c=c: drive.decay[r][c], s) if reach[s][c] else None for c in states)
            for s in states
        )
        return before, entry

    one, zero = jnp.ones(trace.rows, trace.dtype), jnp.zeros(trace.rows, trace.dtype)
    identity = tuple(tuple((one if s == r else zero) if reach[s][r] else None for r in states) for s in states)
    return jax.lax.scan(body, identity, Drive(drives.decay, drives.entry, None), reverse=True)


def _reachable(couplings: tuple[tuple[bool, ...], ...]) -> list[list[bool]]:
    """Which state can reach which, in any number of steps; each reaches itself in none."""
    size = range(len(couplings))
    reach = [[couplings[s][r] or s == r for r in size] for s in size]
    for through in size:
        reach = [[reach[s][r] or (reach[s][through] and reach[through][r]) for r in size] for s in size]
    return reach


def unless(valid: Bool[Array, ""], decay: Matrix, entry: list[Array]) -> tuple[Matrix, list[Array]]:
    """The same if valid; otherwise what leaves a trace as it is."""
    kept = tuple(
        tuple(None if d is None else jnp.where(valid, d, float(s == r)).astype(d.dtype) for r, d in enumerate(row))
        for s, row in enumerate(decay)
    )
    return kept, [jnp.where(valid, d, 0).astype(d.dtype) for d in entry]
