"""The dtype of the arithmetic of traces."""

import jax
import jax.numpy as jnp
import numpy as np


def widest(*dtypes: np.dtype) -> np.dtype:
    """The dtype that holds them all, whatever the user lets JAX promote by itself; nothing under 16 bits."""
    with jax.numpy_dtype_promotion("standard"):
        return jnp.result_type(*(jnp.bfloat16 if jnp.finfo(d).bits < 16 else d for d in dtypes))
