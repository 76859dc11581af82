"""What the fields of a neuron, a synapse or a readout hold: constants, or parameters.

JAX makes an array of a Python number wherever a pytree crosses `jax.jit` or is carried by `jax.lax.scan`, and an array
is trained. So a number is kept where JAX looks for no arrays: in a node of the pytree that has no leaves.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float, Num

Parameter = int | float | Num[Any, "..."]


class Constant(float):
    """A Python number that stays one: a float, and a pytree without leaves."""

    __slots__ = ()

    def __jax_array__(self) -> Float[Array, ""]:
        # Weakly typed, as a float is; without this JAX takes a subclass of float for a 64-bit number.
        return jnp.asarray(float(self))


# A new object for every place in a pytree, because `equinox.tree_at` tells places apart by identity.
jax.tree_util.register_pytree_node(Constant, lambda number: ((), float(number)), lambda number, _: Constant(number))


def as_parameter(value: Any) -> Any:
    """Python numbers made constant, arrays of JAX and NumPy made strongly typed JAX arrays; also inside a quantity."""
    if value is None or isinstance(value, list | tuple | dict | str | bool):
        raise TypeError(
            f"A parameter is {value!r}, of type {type(value).__name__}; it must be a number, which is constant, an "
            "array (`jnp.asarray`), which is trained, or a quantity."
        )
    return jax.tree.map(_as_leaf, value)


def _as_leaf(leaf: Any) -> Any:
    if isinstance(leaf, jax.Array | np.ndarray | np.generic):
        # With a dtype it is not weakly typed; one that is compiles again when the first update makes it strong.
        # Of integers a parameter could not be trained.
        dtype = jnp.asarray(leaf).dtype
        return jnp.asarray(leaf, dtype if jnp.issubdtype(dtype, jnp.inexact) else float)
    return Constant(leaf) if _is_number(leaf) else leaf


def _is_number(leaf: Any) -> bool:
    # numpy.float64 is a subclass of float, but an array to JAX.
    return isinstance(leaf, int | float) and not isinstance(leaf, bool | np.generic)


def parameter(default: float) -> Any:
    """A field with this default."""
    return eqx.field(default=default, converter=as_parameter)


def known(value: Any) -> np.ndarray | None:
    """The numbers of a parameter; None if it is traced, or has a unit."""
    is_known = isinstance(value, float | jax.Array) and not isinstance(value, Tracer)
    return np.asarray(value) if is_known else None


def check_times(owner: Any, *names: str) -> None:
    """Are these times longer than zero, as far as they are known, and all with a unit or none?"""
    times = {name: getattr(owner, name) for name in names}
    for name, value in times.items():
        numbers = known(value)
        if numbers is not None and not (numbers > 0).all():
            shown = float(value) if isinstance(value, float) else value
            raise ValueError(f"`{name}` of `{type(owner).__name__}` is {shown}; it must be longer than zero.")
    plain = [name for name, value in times.items() if isinstance(value, float | jax.Array)]
    if 0 < len(plain) < len(times):
        united = next(name for name in names if name not in plain)
        raise TypeError(
            f"`{united}` of `{type(owner).__name__}` has a unit, and `{plain[0]}` has none. Give all of its times one, "
            "`dt` included, or none."
        )


def zero_in_unit_of(other: Any, value: Any) -> Any:
    """`value`, where a plain 0 stands for 0 in the unit of `other`."""
    return jax.tree.map(lambda _: 0.0, other, is_leaf=_is_number) if _is_number(value) and value == 0 else value
