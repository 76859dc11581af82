"""One vector through a step, without its Jacobian: J s forward, and nu J backward.

The backward pass is that of the step. It is linear, so its transpose is J: the step itself needs no forward-mode rule,
which a surrogate spike may lack.
"""

import dataclasses
from collections.abc import Mapping

import jax
from jaxtyping import Array, Inexact

from ..._read import Analysis
from ._jacobian import as_scalars, PullNew
from ._product_layout import ProductLayout


@dataclasses.dataclass(frozen=True, eq=False)
class Passes:
    """Those of one step."""

    analysis: Analysis
    pull_new: PullNew
    values: Mapping[int, Array]
    """Of what heads met, by variable."""

    def push(self, s: Inexact[Array, " n"]) -> Inexact[Array, " n"]:
        """J s, by the scalars of the state."""
        old = _leaves(self.analysis, s, self.analysis.step.states)
        new = _leaves(self.analysis, s, self.analysis.step.new_states)
        try:
            (pushed,) = jax.linear_transpose(lambda on_new: list(self.pull_new(on_new)[1]), new)(old)
        except NotImplementedError as error:
            raise NotImplementedError(
                f"{error}: JAX cannot transpose a backward rule of the step, which `UORO` needs. `KFRTRL` and `OK` do "
                "not."
            ) from error
        return as_scalars(pushed).astype(s.dtype)

    def pull(self, layout: ProductLayout, signal: Inexact[Array, " n"]) -> Inexact[Array, "..."]:
        """signal dh/dy, by the rows of the head."""
        on_new = _leaves(self.analysis, signal, self.analysis.step.new_states)
        on_weights, _, on_heads = self.pull_new(on_new)
        body, use = self.analysis.body, layout.source.use
        if use is None:
            return layout.head.to_rows(dict(zip(body.weights, on_weights, strict=True))[layout.weight])
        heads = {one.output: ct for one, ct in zip(body.heads, on_heads, strict=True)}
        return layout.head.to_rows(heads[use.output])

    def met(self, layout: ProductLayout) -> Inexact[Array, "b m k"] | None:
        """What the weight met; None where it is used otherwise than by a head."""
        use = layout.source.use
        return None if use is None else layout.head.to_features(self.values[use.data]).astype(layout.dtype)


def _leaves(analysis: Analysis, scalars: Inexact[Array, " n"], states: tuple[int, ...]) -> list[Array]:
    """The arrays of a state, from its scalars."""
    leaves, start = [], 0
    for var in states:
        aval = analysis.step.program.avals[var]
        size = int(aval.size)
        leaves.append(scalars[start : start + size].astype(aval.dtype).reshape(aval.shape))
        start += size
    return leaves
