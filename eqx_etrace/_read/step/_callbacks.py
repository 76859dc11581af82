"""What a step is told from outside while it runs: another answer each time that it is run."""

from typing import Any

from ... import _jax, _source
from ..program import Program


def check_answers(program: Program) -> None:
    """Does the same come of the same, whenever a step is run? Derivatives and influences run it again.

    **Raises** `ValueError` with the user's line.
    """
    for eqn in program.equations:
        held = None if eqn.jaxpr_eqn is None else _first(eqn.jaxpr_eqn)
        if held is not None:
            line = _source.source_line(held) if held is not eqn.jaxpr_eqn else eqn.source
            raise ValueError(
                f"The step is not a pure function: `{held.primitive}` at {line} has a side effect and gives an answer "
                "(as `jax.experimental.io_callback` does). A step is run more than once for one gradient, and would be "
                "answered anew. Pass what changes from step to step as an input; use `jax.pure_callback` if the same "
                "is always answered to the same. What only tells (`jax.debug.print`, or an `io_callback` whose result "
                "is None) is no hindrance."
            )


def _first(eqn: Any) -> Any:
    """The first equation, this or one inside it, that has an effect and an answer; None if none has."""
    inner = _jax.inner_jaxprs(eqn)
    if inner:
        return next(filter(None, (_first(one) for held in inner for one in _jax.opened(held)[0].eqns)), None)
    is_outside = (
        eqn.effects and not _jax.is_collective(eqn) and not any(map(_jax.is_reference, (*eqn.invars, *eqn.outvars)))
    )
    return eqn if is_outside and eqn.outvars else None
