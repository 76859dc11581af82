"""Everything that is settled before numbers flow: the analysis, the layout of each trace, the rule of each."""

import dataclasses
import hashlib
import re
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.tree_util as jtu
import numpy as np
from jaxtyping import Array, Float, PyTree

from .._carry import AbstractPositionRule, Influence, make_traces, NoTrace, tapped, Trace
from .._read import analyse, Analysis, Layout, stage_step, unfollowed_edges
from ._assignment import assign, Assignment, Rule


class ETrace(eqx.Module):
    """The eligibility traces of a graph under a rule: a pytree of arrays, carried by the user like the state.

    Make one with `.init`. Batch, donate, checkpoint and shard it like any other pytree.
    """

    values: tuple[PyTree[Array], ...]
    """One entry for each effective weight that enters a hidden group, then one for each influence on blocks."""
    made_for_step_and_rule: tuple[Float[Array, "_"], ...]
    """Zeros, whose lengths are a fingerprint of `owner` and `inputs`: a file holds arrays alone, and loading it checks
    their shapes."""
    owner: tuple[str, ...] = eqx.field(static=True)
    """Which relation and rule each entry belongs to."""
    inputs: tuple[str, ...] = eqx.field(static=True)
    """The inputs of one step that it was made for."""

    def holding(self, values: tuple[PyTree[Array], ...]) -> "ETrace":
        """The same traces with other values."""
        return ETrace(values, self.made_for_step_and_rule, self.owner, self.inputs)


@dataclasses.dataclass(frozen=True, eq=False)
class Plan:
    """A step, read and ready to run."""

    assignment: Assignment
    traces: tuple[Trace, ...]
    taps: tuple[int, ...]
    cut: frozenset[int]
    """Outputs of calls that no Jacobian follows, if there are influences."""

    @property
    def analysis(self) -> Analysis:
        return self.assignment.analysis

    @property
    def rules(self) -> tuple[AbstractPositionRule, ...]:
        """By trace."""
        return self.assignment.sites

    @property
    def influences(self) -> tuple[Influence, ...]:
        return self.assignment.influences

    def init(self) -> ETrace:
        values = [rule.init(trace) for rule, trace in zip(self.rules, self.traces, strict=True)]
        blocks = [influence.init() for influence in self.influences]
        dtype = self.analysis.step.program.avals[self.analysis.step.states[0]].dtype
        return ETrace((*values, *blocks), _fingerprint(self.owner, self.inputs, dtype), self.owner, self.inputs)

    @property
    def owner(self) -> tuple[str, ...]:
        groups, sites = self.analysis.groups, self.analysis.sites
        names: list[list[str]] = [[] for _ in sites]
        for relation in self.analysis.relations:
            names[relation.site].append(str(relation.path))
        by_position = [
            f"{' and '.join(name)} in {list(groups[site.group].paths)} by {rule}"
            for name, site, rule in zip(names, sites, self.rules, strict=True)
        ]
        weights = [influence.source.weight for influence in self.influences]
        on_blocks = [f"{' and '.join(self.assignment.names(w))} by {self.assignment.blocks[w]}" for w in weights]
        return (*by_position, *on_blocks)

    @property
    def inputs(self) -> tuple[str, ...]:
        step = self.analysis.step
        arrays = [(path, a) for path, a in zip(step.inputs.paths, step.inputs.arrays, strict=True) if a is not None]
        given = [f"input {path[0]}{list(path[1:]) or ''} {list(array.shape)}" for path, array in arrays]
        return (*given, *_values("input", step.inputs), *_values("state", step.state))

    def check(self, trace: ETrace) -> None:
        """Is this a trace of this graph and this rule?"""
        advice = "Make a trace for this step and rule with `.init(model, state, *inputs)`."
        if trace.owner != self.owner:
            raise ValueError(f"This trace belongs to another graph or rule. {self._difference(trace)} {advice}")
        if trace.inputs != self.inputs:
            raise ValueError(
                f"The inputs of one step are {', '.join(self.inputs) or 'none'} here, but this trace was made for "
                f"{', '.join(trace.inputs) or 'none'}. {self._advice(trace)}"
            )
        expected = jax.eval_shape(self.init)
        for name, found, wanted in zip(self.owner, trace.values, expected.values, strict=True):
            if not _same_arrays(found, wanted):
                raise ValueError(
                    f"The trace of {name} belongs to another graph: it holds {_show(found)}, this step needs "
                    f"{_show(wanted)}. {advice}"
                )

    def _advice(self, trace: ETrace) -> str:
        differ = set(self.inputs) ^ set(trace.inputs)
        if any(" = " in name for name in differ):
            return (
                "What is no array is part of the step, and what weights become by it is part of the trace. Pass what "
                "changes from call to call as an array (`jnp.asarray`)."
            )
        return (
            "A trace is for inputs of fixed shapes, the size of the batch included: make one for these with "
            "`.init(model, state, *inputs)`, or pass inputs of those shapes."
        )

    def _difference(self, trace: ETrace) -> str:
        made, used = _rules(trace.owner), _rules(self.owner)
        if made != used:
            is_traced = "[]" in made, "[]" in used
            hint = " A traced number is not a known one: make the trace where it is traced, too."
            return f"It was made under {made}; this is {used}.{hint if is_traced[0] != is_traced[1] else ''}"
        theirs, ours = (
            "; ".join(dict.fromkeys(name for name in _kept(a) if name not in b)) or "nothing else"
            for a, b in ((trace.owner, self.owner), (self.owner, trace.owner))
        )
        hint = " (`jax.jit` makes an array, which is trained, of a Python number in a dict or a list of the model.)"
        return f"It holds {theirs}, where this step needs {ours}.{hint if theirs == 'nothing else' else ''}"


def _fingerprint(owner: tuple[str, ...], inputs: tuple[str, ...], dtype: np.dtype) -> tuple[Array, ...]:
    """Five arrays of 1 to 64 zeros: by chance the same of two traces in a billion."""
    digest = hashlib.sha256(repr((owner, inputs)).encode()).digest()
    return tuple(jnp.zeros(1 + byte % 64, dtype) for byte in digest[:5])


def _values(what: str, layout: Layout) -> list[str]:
    """What is no array, by name; functions without the address that they have in this process."""
    leaves = zip(layout.paths, layout.arrays, layout.static, strict=True)
    return [
        f"{what} {'.'.join(map(str, path))} = {re.sub(' at 0x[0-9a-f]+', '', repr(value))}"
        for path, array, value in leaves
        if array is None
    ]


def _kept(owner: tuple[str, ...]) -> list[str]:
    """Without what the rule keeps no trace of, if it keeps any."""
    return [name for name in owner if not name.endswith(f" by {NoTrace()}")] or list(owner)


def _rules(owner: tuple[str, ...]) -> str:
    return " and ".join(sorted({name.rpartition(" by ")[2] for name in _kept(owner)})) or "no rule"


def check_trace(trace: Any) -> None:
    """An `ETrace`, in its place among the arguments."""
    if not isinstance(trace, ETrace):
        raise TypeError(
            f"The third argument must be an `ETrace` made by `.init`; found `{type(trace).__name__}`. "
            "The arguments are `(model, state, trace, *inputs)`."
        )


def make_plan(
    step: Callable[..., Any],
    rule: Rule,
    model: PyTree,
    state: PyTree,
    inputs: tuple[Any, ...],
    *,
    has_aux: bool = False,
    pulls_state: bool = False,
) -> Plan:
    staged = stage_step(step, model, state, inputs, has_aux=has_aux)
    analysis = analyse(dataclasses.replace(staged, pulls_state=pulls_state))
    found = assign(analysis, rule)
    found.check_limits()
    edges = unfollowed_edges(analysis.step, analysis.body) if found.influences else []
    cut = frozenset(v for first, _ in edges for v in analysis.step.program.producer[first].outputs)
    return Plan(found, make_traces(analysis), tapped(analysis), cut)


def _leaves(tree: PyTree) -> list[tuple[tuple[int, ...], str]]:
    return [(tuple(x.shape), str(x.dtype)) for x in jtu.tree_leaves(tree)]


def _same_arrays(found: PyTree, wanted: PyTree) -> bool:
    return jtu.tree_structure(found) == jtu.tree_structure(wanted) and _leaves(found) == _leaves(wanted)


def _show(tree: PyTree) -> str:
    return " and ".join(f"{dtype}{list(shape)}" for shape, dtype in _leaves(tree)) or "nothing"
