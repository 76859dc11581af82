"""The graph of a step: its hidden groups, and where each parameter enters them."""

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from jaxtyping import PyTree

from .._carry import AbstractRule, DRTRL, shown
from .._read import analyse, Analysis, HiddenGroup, ParamRelation, Path, stage_step
from .._spend import check_no_trace, check_rule, check_step, RuleOrChoice
from ._cost import Cost, Ledger
from ._report import count_alternatives, make_report, Report, show_bytes
from .draw import Drawing, make_picture, render

_USUAL = DRTRL()


class ETraceGraph:
    """What `compile_graph` finds in a step. `str()` of it is what `show_graph` prints."""

    def __init__(self, analysis: Analysis):
        self._analysis = analysis

    @property
    def hidden_groups(self) -> tuple[HiddenGroup, ...]:
        """The hidden groups, in data-flow order."""
        return self._analysis.groups

    @property
    def relations(self) -> tuple[ParamRelation, ...]:
        """Every place where a parameter enters a hidden group, in data-flow order."""
        return self._analysis.relations

    def show_graph(self) -> None:
        """Print the graph."""
        print(self)

    def report(self, rule: RuleOrChoice) -> Report:
        """What `rule` computes for each parameter: exact or not, what is dropped, what it costs.

        **Raises** `ValueError` under `RTRL` or `SnAp` for a step whose Jacobian is too large to write down. Traces that
        take more than the limit of a rule are no error here: `Report.refusal` says what `init` would.
        """
        return make_report(self._ledger, check_rule(rule), lambda: self._alternatives)

    @functools.cached_property
    def _ledger(self) -> Ledger:
        return Ledger(self._analysis)

    @functools.cached_property
    def _alternatives(self) -> tuple[Cost, ...]:
        return count_alternatives(self._ledger)

    def draw(self, rule: RuleOrChoice = _USUAL) -> Drawing:
        """A picture: hidden groups with their states, the parameters that enter them, and what flows between them.

            graph.draw(DRTRL()).save("graph.svg")

        Parameters are coloured by what `rule` makes of their gradient, with the memory of their traces; arrows of what
        it drops beyond the window are red and name the operation and the line. Dashed arrows read the state of the step
        before. Three or more groups that are alike are drawn once. In a notebook a graph shows itself, under `DRTRL()`.

        **Arguments**

        - `rule`: as for `report`.

        **Raises** `ImportError` without the extra `eqx_etrace[draw]`.
        """
        name = str(rule) if isinstance(check_rule(rule), AbstractRule) else "A rule by relation"
        return render(make_picture(self._analysis, self.report(rule), name))

    def _repr_svg_(self) -> str | None:
        try:
            return self.draw().svg
        except ImportError:
            return None

    def __copy__(self) -> "ETraceGraph":
        return self

    def __deepcopy__(self, memo: Any) -> "ETraceGraph":
        return self

    def __reduce__(self) -> Any:
        raise TypeError(
            "A graph cannot be pickled: it holds the staged step, a program that JAX cannot pickle. Pickle what it "
            "says (`graph.report(rule)`, `graph.draw(rule)`, `graph.hidden_groups`, `graph.relations`, `str(graph)`), "
            "or pickle what `compile_graph` was given and call it again."
        )

    def __str__(self) -> str:
        return "\n".join([*self._group_lines(), *self._weight_lines(), *self._untraced_lines()])

    def __repr__(self) -> str:
        return f"ETraceGraph({len(self.hidden_groups)} hidden groups, {len(self._associations())} traced parameters)"

    def _associations(self) -> dict[Path, list[int]]:
        """Which groups each traced parameter enters."""
        groups: dict[Path, dict[int, None]] = {}
        for relation in self.relations:
            groups.setdefault(relation.path, {})[relation.group] = None
        return {path: list(entered) for path, entered in groups.items()}

    def _group_lines(self) -> list[str]:
        lines = ["The hidden groups are:", ""]
        for group in self.hidden_groups:
            states = ", ".join(shown(path, "the state") for path in group.paths)
            lines.append(f"   Group {group.index}: [{states}]")
        return [*lines, ""]

    def _weight_lines(self) -> list[str]:
        lines = ["The weight parameters which are associated with the hidden states are:", ""]
        for number, (path, groups) in enumerate(self._associations().items()):
            lines.append(f"   Weight {number}: {shown(path)}  is associated with {_listed(groups)}")
        return [*lines, *([] if self._associations() else ["   none"]), ""]

    def _untraced_lines(self) -> list[str]:
        paths, traced = self._analysis.step.model.inexact_paths, self._associations()
        lines = [self._untraced_line(p) for p, path in enumerate(paths) if path not in traced]
        return ["The parameters without a trace are:", "", *lines] if lines else ["Every parameter has a trace."]

    def _untraced_line(self, p: int) -> str:
        """Of one parameter, why it has no trace."""
        step, cuts, zero = self._analysis.step, self._analysis.dropped[p], self._analysis.zero[p]
        path = shown(step.model.inexact_paths[p])
        if zero is not None or not cuts:
            why, what = ("reaches no later step", "exact") if zero is None else (zero, "zero")
            return f"   {path}  {why}: its gradient is {what}"
        groups = sorted({cut.group for cut in cuts})
        aval = step.program.avals[step.parameters[p]]
        states = sum(self.hidden_groups[g].size * self.hidden_groups[g].num_states for g in groups)
        dense = states * math.prod(aval.shape) * jnp.dtype(aval.dtype).itemsize
        return (
            f"   {path}  reaches {_listed(groups)} only through mixing ({cuts[0]}): its gradient is that of the "
            f"window, but for `RTRL` or `SnAp` for everything; a dense trace would take {show_bytes(dense)}"
        )


def _listed(groups: list[int]) -> str:
    if len(groups) == 1:
        return f"hidden group {groups[0]}"
    return f"hidden groups {', '.join(map(str, groups[:-1]))} and {groups[-1]}"


def compile_graph(step: Callable[..., Any], model: PyTree, state: PyTree, *inputs: Any) -> ETraceGraph:
    """Read a step: find its hidden groups and where each parameter enters them.

        graph = compile_graph(step, model, state, x)
        graph.show_graph()
        print(graph.report(DRTRL()))

    **Arguments**

    - `step`: `step(model, state, *inputs) -> (out, new_state)`, a pure function. It is traced once, never run.
    - `model`, `state`, `inputs`: pytrees of arrays or of `jax.ShapeDtypeStruct`s. The inexact arrays of `model` are the
      parameters, those of `state` the hidden states.

    **Returns** an `ETraceGraph`. What its report calls exact is the gradient of the output, if that is a loss (one real
    scalar), as in `etrace_grad`; else that of the output and of all of the new state, which may get a cotangent in
    `etrace_vjp`. The `.graph` of a transform is about that transform.

    **Raises** `ValueError` or `TypeError` for a model without parameters, a step without a hidden state, a step that
    does not return a pair, a state whose structure, shape or dtype changes across the step.
    """
    check_step(step, "`(step, model, state, *inputs)`")
    check_no_trace((model, state, *inputs))
    staged = stage_step(step, model, state, inputs)
    return ETraceGraph(analyse(dataclasses.replace(staged, pulls_state=not staged.is_loss)))
