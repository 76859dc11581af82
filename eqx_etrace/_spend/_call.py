"""One call: a plan, bound to the arrays of its arguments.

The prologue is run once per call. A step reads from it the effective weights, and is differentiated with respect to
those, not to the parameters: cotangents of weights are summed over steps as they are, and pulled back to the parameters
once (`Call.pull_to_parameters`).
"""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, PyTree

from .._carry import AbstractKeeper, filter_signals, TraceLayout
from .._read import evaluate, Step
from .._sharding import varying_as, zeros
from ._closed_over import or_nan
from ._etrace import ETrace
from ._plan import places, Plan

Arrays = list[Any]
Env = Mapping[Any, Any]
"""The values of variables."""


class Carry(eqx.Module):
    """The state between steps: its inexact arrays, which carry derivatives, and the others."""

    inexact: Arrays
    rest: Arrays


class Inputs(eqx.Module):
    """The inputs of one step, or of many, stacked along time: inexact arrays, and the others."""

    inexact: Arrays
    rest: Arrays


@dataclasses.dataclass(frozen=True, eq=False)
class Call:
    """A plan, the values that all steps of a call share, and the state and inputs of one of them."""

    plan: Plan
    parameters: Arrays
    model_rest: Arrays
    fixed: Env
    """The prologue, and the copies of weights that heads read: made once, outside every loop."""
    state: Carry
    inputs: Inputs
    keepers: tuple[AbstractKeeper, ...]
    """Those of the plan, or some of them: whose values there are."""
    told: tuple[AbstractKeeper, ...] = ()
    """Those whose values wait: they are told of many steps together."""
    is_same: Bool[Array, ""] | None = None
    """Does the step close over the arrays that the trace was made for? None if it closes over none."""

    @classmethod
    def bind(cls, plan: Plan, model: PyTree, state: PyTree, trace: ETrace, inputs: tuple[Any, ...]) -> "Call":
        """Check the trace, take the arrays out of the arguments, and run the prologue."""
        is_same, step = plan.check(trace), plan.analysis.step
        parameters, model_rest = step.model.split(model)
        carry, given = Carry(*step.state.split(state)), Inputs(*step.inputs.split(inputs))
        values = prologue(plan, parameters, model_rest)
        fixed = {**values, **plan.analysis.body.copies(values)}
        return cls(
            plan=plan,
            parameters=parameters,
            model_rest=model_rest,
            fixed=fixed,
            state=carry,
            inputs=given,
            keepers=tuple(_bound(keeper, values) for keeper in plan.keepers),
            is_same=is_same,
        )

    def at(self, state: Carry, inputs: Inputs) -> "Call":
        """The same call at another step."""
        return dataclasses.replace(self, state=state, inputs=inputs)

    def of(self, keepers: Sequence[AbstractKeeper], told: Sequence[AbstractKeeper] = ()) -> "Call":
        """The same call, as far as these keepers ask."""
        return dataclasses.replace(self, keepers=tuple(keepers), told=tuple(told))

    @property
    def step(self) -> Step:
        """The step, staged."""
        return self.plan.analysis.step

    @functools.cached_property
    def on_filter(self) -> Any:
        """From cotangents of the states to that of a filter; None if no trace has filters."""
        sites, _ = places(self.plan.keepers)
        return filter_signals(self.plan.analysis, self.fixed) if any(site.filters for site in sites) else None

    @property
    def weights(self) -> Arrays:
        """The effective weights."""
        return [jnp.asarray(self.fixed[v]) for v in self.plan.analysis.body.weights]

    def no_shifts(self, *lead: int) -> Arrays:
        """The shifts of what heads make, with these leading axes: zeros."""
        avals = self.step.program.avals
        outputs = [avals[use.output] for use in self.plan.analysis.body.heads]
        return [zeros(y, *lead) for y in outputs]

    def without_still(self, state: Sequence[Array]) -> Arrays:
        """The arrays of a state; those that carry credit of no parameter are not differentiated by."""
        still = self.step.still
        return [jax.lax.stop_gradient(s) if leaf in still else s for leaf, s in enumerate(state)]

    def new_without_still(self, values: Mapping[int, Array]) -> dict[int, Array]:
        """The same of new states, by variable."""
        still = {self.plan.analysis.read_out.states[leaf].variable for leaf in self.step.still}
        return {v: jax.lax.stop_gradient(x) if v in still else x for v, x in values.items()}

    def env(self, weights: Arrays, state: Carry, inputs: Inputs) -> dict[Any, Any]:
        """The values that a step starts from."""
        step, body = self.step, self.plan.analysis.body
        values = {**self.fixed, **dict(zip(body.weights, weights, strict=True))}
        values.update(zip(step.states, state.inexact, strict=True))
        values.update(zip(step.states_rest, state.rest, strict=True))
        values.update(zip(step.inputs_inexact, inputs.inexact, strict=True))
        values.update(zip(step.inputs_rest, inputs.rest, strict=True))
        return values

    def pull_to_parameters(self, on_weights: Arrays) -> Arrays:
        """From cotangents of the effective weights to cotangents of the parameters.

        Those of weights without credit are zeros that BPTT does not have: times an infinite slope they would be NaN.
        """
        body = self.plan.analysis.body
        credited = [i for i, weight in enumerate(body.weights) if weight in body.credited]

        def made(parameters: Arrays) -> Arrays:
            values = prologue(self.plan, parameters, self.model_rest)
            return [jnp.asarray(values[body.weights[i]]) for i in credited]

        return or_nan(self.is_same, jax.vjp(made, self.parameters)[1]([on_weights[i] for i in credited])[0])


def _bound(keeper: AbstractKeeper, values: Env) -> AbstractKeeper:
    """Where an index of the model decides the positions of a trace, they are known in a call."""
    layout = keeper.layout
    if not isinstance(layout, TraceLayout) or layout.find_rows is None:
        return keeper
    return dataclasses.replace(keeper, layout=layout.bound(values))


def prologue(plan: Plan, parameters: Arrays, model_rest: Arrays) -> dict[Any, Any]:
    """The values that depend on the model alone; its arrays are of the type that they were staged with."""
    step, fixed = plan.analysis.step, plan.analysis.fixed
    values = {**step.program.constants, **step.read_as_data}
    for variables, arrays in ((step.parameters, parameters), (step.model_rest, model_rest)):
        values.update(zip(variables, [varying_as(array, plan.varies) for array in arrays], strict=True))
    evaluate((eqn for eqn in step.program.equations if eqn.outputs and fixed.issuperset(eqn.outputs)), values)
    return values
