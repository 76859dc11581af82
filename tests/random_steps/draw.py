"""How random steps are drawn, and how one that fails is made smaller."""

import dataclasses
import random
from collections.abc import Callable, Iterator
from typing import Any

from hypothesis import strategies as st

from .operations import OPERATIONS
from .program import New, Op, Program, STATES, WAYS


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
    news = tuple(New(number(), rng.randrange(WAYS)) for _ in states)
    return Program(states, ops, news, number(), rng.randrange(4), rng.choice((0, 0, 0, rng.randrange(8))))


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
    if program.narrow:
        yield but(narrow=0)


def _without(items: tuple[Any, ...], i: int) -> tuple[Any, ...]:
    return items[:i] + items[i + 1 :]


def _with(items: tuple[Any, ...], i: int, item: Any) -> tuple[Any, ...]:
    return (*items[:i], item, *items[i + 1 :])
