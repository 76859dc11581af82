"""What a user gave, in words; and checks of it that many parts share."""

import inspect
import operator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PRNGKeyArray


def in_words(given: Any) -> str:
    """`float32[3]` of an array, the name of a class or a function, the type of what is longer than a line."""
    if hasattr(given, "dtype") and hasattr(given, "shape"):
        return f"{given.dtype}{list(given.shape)}"
    if isinstance(given, type):
        return f"the class `{given.__name__}`"
    if inspect.isroutine(given):
        return f"the function `{given.__name__}`"
    if given is None or isinstance(given, str | int | float | complex):
        return repr(given)
    return f"{a(type(given).__name__)}"


def a(name: str) -> str:
    """`an ETrace`, `a dict`, as code."""
    return f"{'an' if name[:1] in 'AEIOU' else 'a'} `{name}`"


def as_key(key: Any, more: str = "") -> PRNGKeyArray:
    """An argument that is one random key, new or old style."""
    dtype = getattr(key, "dtype", None)
    if dtype is not None and jnp.issubdtype(dtype, jax.dtypes.prng_key) and key.shape == ():
        return key
    if dtype == jnp.uint32 and key.ndim == 1:
        return jax.random.wrap_key_data(jnp.asarray(key))
    number = key if isinstance(key, int) and not isinstance(key, bool) else 0
    several = " For a key per lane use `jax.vmap` over a function of one." if getattr(key, "ndim", 0) else ""
    raise TypeError(f"`key` is {in_words(key)}; it must be one random key: `jax.random.key({number})`.{several}{more}")


def check_number(name: str, value: Any, what: str) -> None:
    """A real number, or an array of them: no string, no flag, nothing with a unit. `what` says what it is."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return
    dtype = value.dtype if isinstance(value, np.number | np.ndarray | jax.Array) else None
    if dtype is not None and (jnp.issubdtype(dtype, jnp.integer) or jnp.issubdtype(dtype, jnp.floating)):
        return
    unit = " It has a unit: divide by that, and take the number." if hasattr(value, "unit") else ""
    kind = f"{type(value).__module__.split('.')[0]}'s {type(value).__name__} {value}" if unit else in_words(value)
    raise TypeError(f"`{name}` is {kind}; it must be a number without a unit: {what}.{unit}")


def check_flag(name: str, value: Any) -> bool:
    """True or False."""
    if not isinstance(value, bool):
        raise TypeError(f"`{name}` is {in_words(value)}; it must be a bool: `{name}=True` or `{name}=False`.")
    return value


def check_one_flag(name: str, value: Any) -> None:
    """One flag, which may be traced: several would be spread along whatever axis is as long."""
    if isinstance(value, bool):
        return
    dtype, shape = getattr(value, "dtype", None), getattr(value, "shape", None)
    is_flag = dtype is not None and jnp.issubdtype(dtype, jnp.bool_)
    if is_flag and shape == ():
        return
    what = f"`{name}` is {in_words(value)}; it must be one flag: a bool, or a bool array of shape []."
    if shape:
        raise ValueError(
            f"{what} For a flag per lane map over the lanes, `jax.vmap`, outside the transform; or begin anew inside "
            f"the step, `state = jnp.where({name}[:, None], fresh, state)`."
        )
    is_number = dtype is not None or isinstance(value, int | float)
    raise TypeError(f"{what} Write `{name} != 0`." if is_number else what)


def check_size(name: str, size: Any) -> int:
    """How many there are of something."""
    if isinstance(size, bool) or not hasattr(size, "__index__"):
        raise TypeError(f"`{name}` is {in_words(size)}; it must be an integer: how many there are.")
    if operator.index(size) < 1:
        raise ValueError(f"`{name}` is {size}; there must be at least 1.")
    return operator.index(size)
