"""What a step makes of its sources by affine maps:  v = c + sum_s M_s s.

A walk forward through its equations, in numbers. Every variable is such a sum, or it is `NoMap`: something else was
done to a source on the way. A source is an input of the step, or what a layer gave.
"""

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Num

from .._read import Equation, flatten, linear_operands, Program


class Source(NamedTuple):
    """Something that is 1-D, by name; is it what was there a step before?"""

    name: str
    is_late: bool = False


@dataclasses.dataclass(frozen=True)
class Affine:
    """`constant + sum(M_s s)`; a matrix is kept as what it makes of each unit vector, `[size of s, *shape]`."""

    constant: Any
    """An array, such as a key, which is no number; or a number."""
    parts: dict[Source, Num[Array, "size *shape"]] = dataclasses.field(default_factory=dict)

    @classmethod
    def of(cls, source: Source, like: Any) -> "Affine":
        """A source itself."""
        size = like.size
        return cls(
            jnp.zeros(like.shape, like.dtype), {source: jnp.eye(size, dtype=like.dtype).reshape(size, *like.shape)}
        )

    def renamed(self, names: Mapping[Source, Source]) -> "Affine":
        """With other names for its sources; those that have one name then are added."""
        parts: dict[Source, Any] = {}
        for source, part in self.parts.items():
            name = names.get(source, source)
            parts[name] = parts[name] + part if name in parts else part
        return Affine(self.constant, parts)


@dataclasses.dataclass(frozen=True)
class NoMap:
    """What is no affine function of its sources: the operation that made it so, and the line."""

    operation: str
    source: str
    reads: tuple[Source, ...]


Value = Affine | NoMap


def through(eqn: Equation, operands: Sequence[Value]) -> list[Value]:
    """What an equation makes of its operands."""
    if eqn.jaxpr_eqn is None:
        return list(operands)
    reads = _sources(operands)
    broken = next((o for o in operands if isinstance(o, NoMap)), None)
    if broken is not None:
        return [dataclasses.replace(broken, reads=reads)] * len(eqn.outputs)
    return _of_maps(eqn, [o for o in operands if isinstance(o, Affine)], reads)


def _sources(operands: Sequence[Value]) -> tuple[Source, ...]:
    each = [operand.reads if isinstance(operand, NoMap) else operand.parts for operand in operands]
    return tuple(dict.fromkeys(itertools.chain(*each)))


def _of_maps(eqn: Equation, operands: list[Affine], reads: tuple[Source, ...]) -> list[Value]:
    if eqn.is_custom and reads:
        return along(flatten(_closed(eqn), by_value=True), operands)
    together = _linear_in(eqn, operands)
    if reads and together is None:
        return [NoMap(eqn.name, eqn.source, reads)] * len(eqn.outputs)
    constants = eqn.bind([o.constant for o in operands])
    if reads and not all(map(_is_precise, constants)):
        return [NoMap(f"{eqn.name} to {jnp.result_type(constants[0])}", eqn.source, reads)] * len(eqn.outputs)
    parts = {source: _part(eqn, operands, together or [], source) for source in reads}
    return [Affine(value, _output(parts, i)) for i, value in enumerate(constants)]


def _output(parts: Mapping[Source, Sequence[Array]], number: int) -> dict[Source, Array]:
    """Of one of the outputs."""
    return {source: part[number] for source, part in parts.items()}


def along(program: Program, inputs: Sequence[Value]) -> list[Value]:
    """The outputs of a program."""
    values: dict[int, Value] = {v: Affine(jnp.asarray(value)) for v, value in program.constants.items()}
    values.update(zip(program.inputs, inputs, strict=True))
    for eqn in program.equations:
        values.update(zip(eqn.outputs, through(eqn, [values[v] for v in eqn.inputs]), strict=True))
    return [values[v] for v in program.outputs]


def _is_precise(value: Any) -> bool:
    """Of a dtype in which a sum is one: whole numbers wrap, half precision rounds."""
    return jnp.result_type(value) in (jnp.float32, jnp.float64, jnp.complex64, jnp.complex128)


def _closed(eqn: Equation) -> Any:
    return eqn.params["jaxpr"] if "jaxpr" in eqn.params else eqn.params["call_jaxpr"]


def _linear_in(eqn: Equation, operands: Sequence[Affine]) -> list[int] | None:
    """The operands that it is linear in together, if these are all that read a source; None if it is not."""
    hit = [i for i, o in enumerate(operands) if o.parts]
    if eqn.traits.runs is not None:
        return None
    if eqn.traits.is_multilinear:
        return hit if len(hit) == 1 else None
    together = range(len(operands))[linear_operands(eqn)]
    return list(together) if set(hit) <= set(together) else None


def _part(eqn: Equation, operands: Sequence[Affine], together: Sequence[int], source: Source) -> list[Array]:
    """What it makes of the part that comes from one source: of the rest of a sum nothing, of a factor all."""
    size = next(len(o.parts[source]) for o in operands if source in o.parts)
    moved = [o.parts.get(source, jnp.zeros((size, *jnp.shape(o.constant)), o.constant.dtype)) for o in operands]
    axes = [0 if i in together else None for i in range(len(operands))]
    arguments = [moved[i] if i in together else o.constant for i, o in enumerate(operands)]
    return jax.vmap(lambda *args: eqn.bind(args), in_axes=axes)(*arguments)
