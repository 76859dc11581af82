"""A random step as data, and how hypothesis draws one."""

import dataclasses
import functools
import random
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import strategies as st
from jax import lax

from .operations import like, NONLINEAR, OPERATIONS, real

T = 5
STATES: tuple[tuple[int, ...], ...] = ((4,), (3,), (2, 3), (2, 2), (), (1, 4))
INPUT = 3


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

    @property
    def is_linear(self) -> bool:
        """Are all backward rules linear in the cotangent?"""
        return not any(op.name in NONLINEAR for op in self.ops)

    def build(self) -> tuple[Callable[..., Any], Any, Any, tuple[Any, ...]]:
        """loss_step, model, state, inputs over time."""
        rng = np.random.default_rng(self.seed)
        state = tuple(_normal(rng, shape, complex if z else float, 0.5) for shape, z in self.states)
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

    def run(self, weights: "_Weights", state: Any, x: Any, flag: Any, index: Any) -> Any:
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
        return loss, tuple(new)


def _last(pool: list[jax.Array], back: int) -> jax.Array:
    return pool[-1 - back % len(pool)]


def _advanced(old: jax.Array, value: jax.Array, how: int) -> jax.Array:
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


def programs() -> st.SearchStrategy[Program]:
    """Programs of one to three states and up to eight operations, each drawn afresh from some random bytes.

    Given strategies for the parts, hypothesis makes most programs from parts of earlier ones: after 60 of them some
    operations have not been drawn.
    """
    return st.binary(min_size=16, max_size=16).map(lambda drawn: draw(random.Random(drawn)))


def draw(rng: random.Random) -> Program:
    def number() -> int:
        return rng.choice((0, 0, 0, 0, 0, 0, 1, 1, 2, 3, 5, 7))  # mostly the last: few values are left unused

    def op() -> Op:
        return Op(rng.choice(sorted(OPERATIONS)), number(), number(), rng.randrange(60))

    states = tuple((rng.choice(STATES), rng.random() < 0.25) for _ in range(rng.randint(1, 3)))
    ops = tuple(op() for _ in range(rng.randint(1, 8)))
    news = tuple(New(number(), rng.randrange(6)) for _ in states)
    return Program(states, ops, news, number(), rng.randrange(4))


def reduced(program: Program, fails: Callable[[Program], bool]) -> Program:
    """A smaller program that fails, too: parts are left out and numbers made zero, one by one, as long as it does."""
    while (smaller := next(filter(fails, _simpler(program)), None)) is not None:
        program = smaller
    return program


def _simpler(program: Program) -> Iterator[Program]:
    def but(**parts: Any) -> Program:
        return dataclasses.replace(program, **parts)

    for i in range(len(program.ops)):
        yield but(ops=_without(program.ops, i))
    for i in range(len(program.states) if len(program.states) > 1 else 0):
        yield but(states=_without(program.states, i), news=_without(program.news, i))
    for i, (shape, is_complex) in enumerate(program.states):
        if is_complex:
            yield but(states=_with(program.states, i, (shape, False)))
    for i, op in enumerate(program.ops):
        for zero in ({"a": 0}, {"b": 0}, {"k": 0}, {"k": op.k % 3}):
            if (other := dataclasses.replace(op, **zero)) != op:
                yield but(ops=_with(program.ops, i, other))
    for i, new in enumerate(program.news):
        if (other := New(0, 0)) != new:
            yield but(news=_with(program.news, i, other))
    if (program.loss, program.seed) != (1, 0):
        yield but(loss=1, seed=0)


def _without(items: tuple[Any, ...], i: int) -> tuple[Any, ...]:
    return items[:i] + items[i + 1 :]


def _with(items: tuple[Any, ...], i: int, item: Any) -> tuple[Any, ...]:
    return (*items[:i], item, *items[i + 1 :])
