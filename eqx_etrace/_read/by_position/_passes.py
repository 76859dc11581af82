"""Reverse passes over a tail, from values that the step has already computed.

With its mixing edges cut, a path through the tail of a group stays in its position. So one reverse pass with a
cotangent of ones per end reads the Jacobian exactly, by position. The ends are the new states of the group, and what
filters read. Nothing is evaluated twice: what the tail does not recompute it reads from **taps**, the values that the
step's own evaluation left behind. A cut edge reads a tap where a kept edge reads the recomputed value; no
`stop_gradient` is needed, and derivatives of the trace itself stay right.
"""

import contextlib
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from ..._sharding import zeros
from ..program import Equation
from ..step import Step
from ._decision import Env
from ._filter import Edge
from ._tail import Tail

_FEW = 8
_Pull = Callable[[list[Array]], tuple[list[Array], list[Array]]]


def read_by(step: Step, tail: Tail) -> Iterator[int]:
    """The variables whose values the passes read beside the step."""
    yield from (step.states[leaf] for leaf in tail.group.leaves)
    yield from (site.output for site in tail.sites if site.output is not None)
    yield from (site.decision.index for site in tail.sites if site.decision is not None)
    yield from (entrance.output for entrance in tail.entrances)
    yield from tail.read
    uses = itertools.chain.from_iterable(map(_uses, tail.equations))
    yield from (v for edge, v in uses if not tail.recomputes(edge, v))


def passes(step: Step, tail: Tail, values: Env) -> dict[tuple[int, int], Array]:
    """By the numbers of an end and of what it is made of: the derivative, in the layout of the latter.

    Ends are the new states of the group, then what its filters read. They are made of its old states, its sites, then
    its entrances.
    """
    leaves = tail.group.leaves
    ends = [*(step.new_states[leaf] for leaf in leaves), *tail.read]
    reach = [tail.reach.get(var, 0) for var in ends]
    reached = [i for i, bits in enumerate(reach) if bits]

    def run(old: list[Array], shifts: list[Array]) -> list[Array]:
        old = [jax.lax.stop_gradient(h) if leaf in step.still else h for leaf, h in zip(leaves, old, strict=True)]
        new = _run_tail(step, tail, values, old, shifts)
        return [new[ends[i]] for i in reached]

    new, pull = jax.vjp(run, [values[step.states[leaf]] for leaf in leaves], _no_shifts(step, tail))
    found: dict[tuple[int, int], Array] = {}
    for i, pulled in zip(reached, _pulled(pull, new), strict=True):
        found |= {(i, r): d for r, d in enumerate(pulled) if reach[i] >> r & 1}
    return found


def _pulled(pull: _Pull, new: Sequence[Array]) -> list[list[Array]]:
    """What each end is made of. Many are pulled back together: XLA takes long over many programs."""
    if len(new) > _FEW:
        with contextlib.suppress(NotImplementedError):  # of an operation that JAX cannot batch
            rows = [_row(len(new), at, h) for at, h in enumerate(new)]
            together = list(itertools.chain(*jax.vmap(pull)(rows)))
            return list(map(list, zip(*together, strict=True)))
    return [list(itertools.chain(*pull(_ones_on(new, at)))) for at in range(len(new))]


def _ones_on(ends: Sequence[Array], at: int) -> list[Array]:
    return [jnp.ones_like(h) if j == at else jnp.zeros_like(h) for j, h in enumerate(ends)]


def _row(count: int, at: int, like: Array) -> Array:
    return zeros(jax.typeof(like), count).at[at].set(1)


def _no_shifts(step: Step, tail: Tail) -> list[Array]:
    """Zeros in the shape of what every site makes, and of what enters at every entrance."""
    program = step.program
    made = [site.weight if site.output is None else site.output for site in tail.sites]
    made += [entrance.output for entrance in tail.entrances]
    return [zeros(program.avals[v]) for v in made]


def _uses(eqn: Equation) -> list[tuple[Edge, int]]:
    return [((eqn.outputs[0], i), var) for i, var in enumerate(eqn.inputs)]


def _run_tail(step: Step, tail: Tail, values: Env, old: Sequence[Array], shifts: Sequence[Array]) -> dict[int, Array]:
    """Re-evaluate a tail with its old states and shifts as variables, all else as values."""
    states = [step.states[leaf] for leaf in tail.group.leaves]
    entering: dict[Edge, Array] = {}
    env = dict(zip(states, old, strict=True))
    shift_of: dict[int, Array] = {}
    sites, entrances = shifts[: len(tail.sites)], shifts[len(tail.sites) :]
    for site, shift in zip(tail.sites, sites, strict=True):
        entering |= dict.fromkeys(site.edges, shift)
        if site.output is not None:
            shift_of[site.output] = shift
    for entrance, shift in zip(tail.entrances, entrances, strict=True):
        shift_of[entrance.output] = shift_of.get(entrance.output, 0) + shift
    env |= {y: values[y] + shift for y, shift in shift_of.items()}

    def read(edge: Edge, var: int) -> Any:
        if edge in entering:
            return values[var] + entering[edge]
        return env[var] if tail.recomputes(edge, var) else values[var]

    for eqn in tail.equations:
        made = eqn.bind([read(edge, var) for edge, var in _uses(eqn)])
        for var, value in zip(eqn.outputs, made, strict=True):
            env[var] = value + shift_of[var] if var in shift_of else value
    return env
