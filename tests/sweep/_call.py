"""One equation of a primitive, as a function that can be asked for its derivative."""

import dataclasses
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import eqx_etrace._jax as compat

from ._samples import Sample, SAMPLES


@dataclasses.dataclass(frozen=True)
class Call:
    """An equation, with the operands that it met where it was found."""

    equation: Any
    operands: tuple[Any, ...]

    def __call__(self, *operands: Any) -> list[Any]:
        return compat.bind(self.equation, operands)

    @property
    def params(self) -> dict[str, Any]:
        return self.equation.params

    @property
    def outputs(self) -> list[jax.ShapeDtypeStruct]:
        return [jax.ShapeDtypeStruct(v.aval.shape, v.aval.dtype) for v in self.equation.outvars]

    def is_inexact(self, operand: int) -> bool:
        return bool(jnp.issubdtype(jnp.asarray(self.operands[operand]).dtype, jnp.inexact))

    @property
    def is_complex(self) -> bool:
        inexact = [x for i, x in enumerate(self.operands) if self.is_inexact(i)]
        return all(map(jnp.iscomplexobj, (*inexact, *self.outputs)))

    def inexact_pairs(self) -> list[tuple[int, int]]:
        """(operand, output) between which a derivative may flow."""
        operands = filter(self.is_inexact, range(len(self.operands)))
        outputs = [j for j, out in enumerate(self.outputs) if jnp.issubdtype(out.dtype, jnp.inexact)]
        return list(itertools.product(operands, outputs))

    def of(self, which: Sequence[int]) -> tuple[Callable[..., list[Any]], list[jax.Array]]:
        """As a function of some operands, and these."""

        def function(*some: Any) -> list[Any]:
            operands = list(self.operands)
            for i, operand in zip(which, some, strict=True):
                operands[i] = operand
            return self(*operands)

        return function, [jnp.asarray(self.operands[i]) for i in which]

    def depends(self, operand: int, output: int) -> np.ndarray | None:
        """Where the Jacobian is not zero, also along the imaginary axis; None if JAX has no derivative of it."""
        try:
            found = self.jacobian(operand, output) != 0
            if jnp.iscomplexobj(self.operands[operand]):
                found |= self.jacobian(operand, output, 1j) != 0
        except (NotImplementedError, ValueError, TypeError):  # the others of `betainc` and complex `max`
            return None
        return found

    def jacobian(self, operand: int, output: int, along: complex = 1) -> np.ndarray:
        """[elements of the output, elements of the operand]."""
        f, (x,) = self.of([operand])
        units = jnp.asarray(along * np.eye(x.size), x.dtype).reshape(x.size, *x.shape)
        push = jax.vmap(lambda unit: jax.jvp(f, (x,), (unit,))[1][output])
        return np.asarray(jax.jit(push)(units)).reshape(x.size, -1).T


def has_sample(primitive: Any) -> bool:
    return bool(_samples(primitive))


def _samples(primitive: Any) -> list[Sample]:
    names = [name for name in SAMPLES if primitive in compat.primitives(name)]
    return list(itertools.chain.from_iterable(map(SAMPLES.__getitem__, names)))


def calls_of(primitive: Any) -> list[Call]:
    """What its samples run of it."""
    found = []
    for sample in _samples(primitive):
        here = _find(primitive, sample.function, sample.operands)
        assert here is not None, f"a sample of `{primitive}` does not run it"
        found.append(here)
    return found


def complex_calls_of(primitive: Any) -> list[Call]:
    """What its samples run of it on complex operands, and to complex outputs."""
    found = []
    for sample in _samples(primitive):
        operands = tuple(_as_complex(x) for x in sample.operands)
        try:
            here = _find(primitive, sample.function, operands)
        except TypeError:  # not of complex numbers
            continue
        if here is not None and here.is_complex:
            found.append(here)
    return found


def _as_complex(x: Any) -> Any:
    return x + 0.25j * np.flip(x) if np.issubdtype(np.asarray(x).dtype, np.floating) else x


def _find(primitive: Any, function: Callable[..., Any], operands: Sequence[Any]) -> Call | None:
    jaxpr, consts = compat.opened(jax.make_jaxpr(function)(*operands))
    return next((c for c in _equations(jaxpr, consts, operands) if c.equation.primitive is primitive), None)


def _equations(jaxpr: Any, consts: Sequence[Any], operands: Sequence[Any]) -> Iterator[Call]:
    """Every equation that is run, with what it met."""
    values = dict(zip((*jaxpr.constvars, *jaxpr.invars), (*consts, *operands), strict=True))
    for eqn in jaxpr.eqns:
        met = tuple(a.val if isinstance(a, compat.Literal) else values[a] for a in eqn.invars)
        if eqn.primitive in compat.INLINED:
            yield from _equations(*compat.body(eqn.params), met)
        yield Call(eqn, met)
        values.update(zip(eqn.outvars, compat.bind(eqn, met), strict=True))
