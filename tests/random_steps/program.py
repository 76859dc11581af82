"""A random step as data."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from .operations import like, NONLINEAR, OPERATIONS, real

T = 5
STATES: tuple[tuple[int, ...], ...] = ((4,), (3,), (2, 3), (2, 2), (), (1, 4))
INPUT = 3
WAYS = 7
AS_IT_IS = WAYS - 1
"""Ways of making a new state; the last is another value itself, such as an old state or another new one."""


@dataclasses.dataclass(frozen=True)
class Op:
    """One operation: its operands are values made before, counted from the last."""

    name: str
    a: int
    b: int
    k: int


@dataclasses.dataclass(frozen=True)
class New:
    """The new value of one state: from its old value and another value, in one of several ways."""

    value: int
    how: int


@dataclasses.dataclass(frozen=True)
class Program:
    """States, then operations, then new states, one after the other, and a loss."""

    states: tuple[tuple[tuple[int, ...], bool], ...]
    """Shape, and is it complex?"""
    ops: tuple[Op, ...]
    news: tuple[New, ...]
    loss: int
    """What the loss reads besides the new states, and how weights are made from parameters."""
    seed: int
    narrow: int = 0
    """Bit i: state i is kept in single precision, whatever the step computes in."""

    @property
    def is_linear(self) -> bool:
        """Are all backward rules linear in the cotangent?"""
        return not any(op.name in NONLINEAR for op in self.ops)

    def build(self) -> tuple[Callable[..., Any], Any, Any, tuple[Any, ...]]:
        """loss_step, model, state, inputs over time."""
        rng = np.random.default_rng(self.seed)
        state = self._stored(tuple(_normal(rng, shape, complex if z else float, 0.5) for shape, z in self.states))
        inputs = (
            _normal(rng, (T, INPUT), float, 1.0),
            jnp.asarray(rng.random(T) < 0.5),
            jnp.asarray(rng.integers(0, 3, T)),
        )
        wanted: dict[str, tuple[tuple[int, ...], Any]] = {}
        jax.eval_shape(lambda s, i: self.run(_Weights(None, wanted, self.loss), s, *i), state, [x[0] for x in inputs])
        model = {
            name: _normal(rng, shape, dtype, 0.8 / np.sqrt(max(1, shape[-1] if len(shape) > 1 else 1)))
            for name, (shape, dtype) in sorted(wanted.items())
        }
        return self.step, model, state, inputs

    def step(self, model: Any, state: Any, x: Any, flag: Any, index: Any) -> Any:
        return self.run(_Weights(model, {}, self.loss), state, x, flag, index)

    def _stored(self, state: Any) -> Any:
        single = {True: jnp.complex64, False: jnp.float32}
        return tuple(s.astype(single[jnp.iscomplexobj(s)]) if self.narrow >> i & 1 else s for i, s in enumerate(state))

    def run(self, weights: "_Weights", state: Any, x: Any, flag: Any, index: Any) -> Any:
        state = tuple(s.astype(complex if jnp.iscomplexobj(s) else float) for s in state)
        c = dataclasses.replace(weights, flag=flag, index=index)
        pool = [x, *state, c.weight(self.seed, (4, INPUT)) @ x]
        halves = np.array_split(np.arange(len(self.ops)), len(self.news))
        new = []
        for old, rule, here in zip(state, self.news, halves, strict=True):
            for number in here:
                op = self.ops[number]
                pool.append(OPERATIONS[op.name](c, _last(pool, op.a), _last(pool, op.b), op.k))
            new.append(_advanced(old, _last(pool, rule.value), rule.how))
            pool.append(new[-1])
        seen = [*new, _last(pool, self.loss)] if self.loss % 2 else [new[self.loss % len(new)], _last(pool, self.loss)]
        loss = sum(jnp.sum(jnp.sin(real(v) + 0.3 * real(v, 1)) * (1.0 + 0.1 * i)) for i, v in enumerate(seen))
        if self.loss % 3 == 0:
            flat = jnp.concatenate([jnp.ravel(real(v)) for v in new])
            loss += jnp.sum(jnp.tanh(c.weight(0, (2, flat.size)) @ flat) ** 2)
        return loss, self._stored(new)


def _last(pool: list[jax.Array], back: int) -> jax.Array:
    return pool[-1 - back % len(pool)]


def _advanced(old: jax.Array, value: jax.Array, how: int) -> jax.Array:
    if how == AS_IT_IS:
        return like(value if jnp.iscomplexobj(old) else real(value), old.shape).astype(old.dtype)
    if jnp.iscomplexobj(old):
        value = like(value, old.shape).astype(old.dtype)
        squashed = value / (1 + jnp.abs(value)).astype(old.dtype)
        return (0.5 * old + 0.5 * squashed, squashed)[how % 2]
    value = like(real(value, how), old.shape)
    ways = (
        lambda: 0.9 * old + 0.3 * jnp.tanh(value),
        lambda: jnp.tanh(value),
        lambda: jnp.tanh(0.5 * old + value),
        lambda: jax.nn.sigmoid(value) * old + 0.1 * value / (1 + value * value),
        lambda: value / (1 + jnp.abs(value)),
        lambda: lax.stop_gradient(0.9 * old) + 0.5 * jnp.tanh(value),
    )
    return ways[how % len(ways)]()


def _normal(rng: np.random.Generator, shape: tuple[int, ...], dtype: Any, scale: float) -> jax.Array:
    x = scale * rng.standard_normal(shape)
    return jnp.asarray(x + 1j * scale * rng.standard_normal(shape) if dtype is complex else x)


@dataclasses.dataclass(frozen=True)
class _Weights:
    """Weights from parameters; without a model, which parameters are wanted."""

    model: Any
    wanted: dict[str, tuple[tuple[int, ...], Any]]
    seed: int
    flag: Any = None
    index: Any = None

    def weight(self, k: int, shape: tuple[int, ...], dtype: Any = float) -> jax.Array:
        """A parameter of this shape, as it is or transformed; few names, so that uses often share one."""
        kind = complex if jnp.issubdtype(dtype, jnp.complexfloating) else float
        get = functools.partial(self._parameter, k // 8 % 2, dtype=kind)
        ways = (
            lambda: get(shape),
            lambda: get(shape),
            lambda: get(shape) * (np.arange(int(np.prod(shape))).reshape(shape) % 3 > 0).astype(kind),
            lambda: get(shape[::-1]).T,
            lambda: 0.8 * get(shape) + 0.1 * get(shape) ** 2,
            lambda: get((*shape[:-1], shape[-1] + 1) if shape else (2,))[..., :-1].reshape(shape),
            lambda: get(shape) * get(shape[-1:]),
            lambda: jnp.tanh(get(shape)) if kind is float else get(shape),
            lambda: get(shape) - jnp.mean(get(shape)) if shape else get(shape),
        )
        return ways[(k // 3 + self.seed) % len(ways)]()

    def _parameter(self, which: int, shape: tuple[int, ...], dtype: Any) -> jax.Array:
        name = "_".join([("c" if dtype is complex else "w") + str(which), *map(str, shape)])
        self.wanted[name] = (shape, dtype)
        return jnp.zeros(shape, dtype) if self.model is None else self.model[name]
