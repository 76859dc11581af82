"""Sequences of several lengths in the lanes of a batch: some follow one another, some end in padding."""

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from every_rule import every_rule

import eqx_etrace as etr

LANES, UNITS, INPUTS, STEPS = 3, 4, 2, 9
KEY = jax.random.key(0)
KEYS = jax.random.split(KEY, 6)
FRESH = jnp.full(UNITS, 0.1)
XS = jax.random.normal(KEYS[4], (STEPS, LANES, INPUTS))
MODEL = {
    "into": jax.random.normal(KEYS[0], (INPUTS, UNITS)),
    "back": 0.4 * jax.random.normal(KEYS[1], (UNITS, UNITS)),
    "bias": 0.1 * jax.random.normal(KEYS[2], (UNITS,)),
    "out": jax.random.normal(KEYS[3], (UNITS,)),
}
SEQUENCES = {0: [(0, 4), (4, 9)], 1: [(0, 2), (2, 6)], 2: [(0, 3), (5, 9)]}
"""By lane, from which step to which. The rest is padding."""
DONE, LIVE = np.zeros((STEPS, LANES), bool), np.zeros((STEPS, LANES), bool)
for lane, spans in SEQUENCES.items():
    for first, last in spans:
        DONE[first, lane], LIVE[first:last, lane] = first > 0, True

RULES = {**every_rule(KEY), "EProp(kappa)": etr.EProp(kappa=0.7)}
RANDOM = ("UORO", "KFRTRL", "OK")
EXACT = ("RTRL", "SnAp(2)", "OSTL")


@dataclasses.dataclass(frozen=True)
class Units:
    """Units with recurrent weights, and a leak of their own if it is not zero. Without one, D is zero by structure."""

    leak: float

    def cell(self, m: Any, h: Any, x: Any) -> Any:
        driven = jnp.tanh(x @ m["into"] + h @ m["back"] + m["bias"])
        return self.leak * h + driven if self.leak else driven

    def single(self, m: Any, h: Any, x: Any) -> tuple[Any, Any]:
        """One lane, one sequence."""
        h = self.cell(m, h, x)
        return jnp.sin(h @ m["out"]), h

    def lanes(self, m: Any, h: Any, x: Any, done: Any, live: Any) -> tuple[Any, Any]:
        """All lanes: a new sequence begins where one is done, and padding holds the state."""
        h = jnp.where(done[:, None], FRESH, h)
        loss, new = jax.vmap(self.single, (None, 0, 0))(m, h, x)
        return jnp.where(live, loss, 0.0).sum(), jnp.where(live[:, None], new, h)


def sequences() -> Iterator[tuple[int, slice]]:
    for lane, spans in SEQUENCES.items():
        for first, last in spans:
            yield lane, slice(first, last)


def added(gradients: Iterator[Any]) -> Any:
    total = jax.tree.map(jnp.zeros_like, MODEL)
    for one in gradients:
        total = jax.tree.map(jnp.add, total, one)
    return total


def alone(rule: Any, step: Callable[..., Any]) -> Any:
    """Every sequence by itself, step by step, with a trace of its own: the sum of all gradients."""
    online = etr.etrace_grad(step, rule)
    call, empty = eqx.filter_jit(online), online.init(MODEL, FRESH, XS[0, 0])

    def gradients() -> Iterator[Any]:
        for lane, steps in sequences():
            h, trace = FRESH, empty
            for x in XS[steps, lane]:
                found, h, trace = call(MODEL, h, trace, x)
                yield found

    return added(gradients())


def together(rule: Any, step: Callable[..., Any], xs: Any = XS, since: Any = None) -> Any:
    """All lanes in one batch, step by step: the sum of all gradients, or of those from a step on."""
    online, h = etr.etrace_grad(step, rule), jnp.tile(FRESH, (LANES, 1))
    call, trace = eqx.filter_jit(online), online.init(MODEL, h, xs[0], DONE[0], LIVE[0])
    gradients = []
    for x, done, live in zip(xs, DONE, LIVE, strict=True):
        found, h, trace = call(MODEL, h, trace, x, done, live)
        gradients.append(found)
    return added(iter(gradients[since or 0 :]))


def by_bptt(step: Callable[..., Any]) -> Any:
    """Every sequence by itself, and nothing of this library."""

    def total(m: Any, lane: int, steps: slice) -> Any:
        return jax.lax.scan(lambda h, x: step(m, h, x)[::-1], FRESH, XS[steps, lane])[1].sum()

    return added(jax.grad(total)(MODEL, lane, steps) for lane, steps in sequences())
