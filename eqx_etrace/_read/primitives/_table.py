"""The table of primitives: one row for each, or for several that are alike in all their traits.

Everything that the package knows of a primitive stands in its row. A primitive without a row is mixing, which is
always right and is reported. A row holds for the parameters that were known when it was written: those that its
readers read, and those that change nothing. JAX adds parameters, and some of them change what an operation means, so
an equation with any other parameter is mixing, too.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from ... import _jax
from ._traits import Flow, Runs, Traits

DOT, CONCATENATE, TRANSPOSE, BROADCAST = _jax.primitives("dot_general concatenate transpose broadcast_in_dim")
_ALL, _FIRST = slice(None), slice(1)


def _reshape(a: Any, new_sizes: Any, dimensions: Any, **_: Any) -> Any:
    return a.transpose(dimensions or range(a.ndim)).reshape(new_sizes)


def _slice(a: Any, start_indices: Any, limit_indices: Any, strides: Any, **_: Any) -> Any:
    return a[tuple(map(slice, start_indices, limit_indices, strides or (None,) * a.ndim))]


def _broadcast(a: Any, shape: Any, broadcast_dimensions: Any, **_: Any) -> Any:
    aligned = [1] * len(shape)
    for axis, dimension in enumerate(broadcast_dimensions):
        aligned[dimension] = a.shape[axis]
    return np.broadcast_to(a.reshape(aligned), shape)


def _moved(flow: Flow, parameters: str, move: Any = None) -> Traits:
    """A movement of all operands, which copies each element as it is."""
    return Traits(flow, parameters, linear=_ALL, is_holomorphic=True, move=move)


def _product(flow: Flow, parameters: str, head: str, weights: tuple[int, ...]) -> Traits:
    """Sums of products, in which an effective weight may meet data."""
    return Traits(flow, parameters, is_multilinear=True, is_holomorphic=True, head=head, weights=weights)


_GATHER = "dimension_numbers slice_sizes mode fill_value"
_SCATTER = "dimension_numbers mode update_jaxpr update_consts"
_WINDOWS = "window_strides padding lhs_dilation rhs_dilation dimension_numbers feature_group_count batch_group_count"
_POOL = "window_dimensions window_strides padding base_dilation window_dilation"
_SCAN = "jaxpr length reverse unroll num_consts num_carry linear ft_in ft_out _split_transpose"

_ROWS = {
    # without a derivative
    "and ceil eq floor ge gt le lt ne not or round xor": Traits(Flow.STOPPED),
    "argmax argmin": Traits(Flow.STOPPED, "axes"),
    "is_finite": Traits(Flow.STOPPED, asks_if_finite=True),
    "stop_gradient": Traits(Flow.STOPPED, linear=_ALL, copies=True),
    # element by element
    "atan2 bessel_i0e bessel_i1e cbrt clamp digamma erf erf_inv erfc igamma igammac lgamma log2 max min nextafter "
    "one_minus_square polygamma regularized_incomplete_beta rem zeta": Traits(Flow.ALIGNED),
    "polynomial": Traits(Flow.ALIGNED, "coefficients coeffs"),
    "acos acosh cos cosh exp exp2 expm1 log log1p logistic pow rsqrt": Traits(Flow.ALIGNED, is_holomorphic=True),
    "integer_pow": Traits(Flow.ALIGNED, "y", is_holomorphic=True),
    "asin asinh atan atanh sin sinh sqrt square tan tanh": Traits(Flow.ALIGNED, is_holomorphic=True, keeps_zero=True),
    "abs": Traits(Flow.ALIGNED, keeps_zero=True),
    # JAX 0.12 differentiates the sign of a complex number, which is its phase.
    "sign": Traits(Flow.ALIGNED, keeps_zero=True, is_flat_if_real=True),
    "neg": Traits(Flow.ALIGNED, linear=_ALL, is_holomorphic=True, keeps_zero=True),
    "add add_jaxvals sub": Traits(Flow.ALIGNED, linear=_ALL, is_holomorphic=True),
    "mul": Traits(Flow.ALIGNED, is_multilinear=True, is_holomorphic=True),
    "div": Traits(Flow.ALIGNED, linear=_FIRST, is_holomorphic=True),
    "select_n": Traits(Flow.ALIGNED, linear=slice(1, None), is_holomorphic=True),
    "complex conj": Traits(Flow.ALIGNED, linear=_ALL),
    "real": Traits(Flow.ALIGNED, linear=_ALL, keeps_zero=True, half="real"),
    "imag": Traits(Flow.ALIGNED, linear=_ALL, keeps_zero=True, half="imag"),
    "copy": Traits(Flow.ALIGNED, linear=_ALL, is_holomorphic=True, copies=True),
    "convert_element_type": Traits(Flow.ALIGNED, linear=_ALL, is_holomorphic=True, copies=True, rounds=True),
    "reduce_precision": Traits(Flow.ALIGNED, copies=True, rounds=True),
    "name": Traits(Flow.ALIGNED, "name", linear=_ALL),
    "sharding_constraint": Traits(Flow.ALIGNED, "context_mesh unconstrained_dims layout", linear=_ALL),
    "optimization_barrier": Traits(Flow.PAIRED),
    "device_put": Traits(Flow.PAIRED, "devices srcs copy_semantics"),
    # movements
    "reshape": _moved(Flow.REARRANGED, "new_sizes dimensions", _reshape),
    "squeeze": _moved(Flow.REARRANGED, "dimensions", lambda a, dimensions, **_: np.squeeze(a, dimensions)),
    "rev": _moved(Flow.REARRANGED, "dimensions", lambda a, dimensions, **_: np.flip(a, dimensions)),
    "transpose": _moved(Flow.REARRANGED, "permutation", lambda a, permutation, **_: a.transpose(permutation)),
    "tile": _moved(Flow.REARRANGED, "reps", lambda a, reps, **_: np.tile(a, reps)),
    "slice": _moved(Flow.REARRANGED, "start_indices limit_indices strides", _slice),
    "broadcast_in_dim": _moved(Flow.REARRANGED, "shape broadcast_dimensions", _broadcast),
    "split": _moved(Flow.PARTED, "sizes axis", lambda a, sizes, axis, **_: np.split(a, np.cumsum(sizes)[:-1], axis)),
    "unstack": _moved(Flow.PARTED, "axis", lambda a, axis, **_: list(np.moveaxis(a, axis, 0))),
    "concatenate": _moved(Flow.JOINED, "dimension", lambda *each, dimension, **_: np.concatenate(each, dimension)),
    "stack": _moved(Flow.JOINED, "axis"),
    "pad": _moved(Flow.JOINED, "padding_config"),
    "dynamic_slice": Traits(Flow.INDEXED, "slice_sizes", linear=_FIRST, is_holomorphic=True, head="lookup"),
    "gather": Traits(Flow.INDEXED, _GATHER, linear=_FIRST, is_holomorphic=True, head="lookup"),
    "dynamic_update_slice": Traits(Flow.INDEXED, linear=slice(2)),
    "scatter": Traits(Flow.INDEXED, _SCATTER, linear=slice(0, None, 2)),
    # sums
    "scatter_add": Traits(Flow.SCATTERED, _SCATTER, linear=slice(0, None, 2)),
    "scatter_mul": Traits(Flow.SCATTERED, _SCATTER),
    "reduce_max reduce_min reduce_prod": Traits(Flow.REDUCED, "axes"),
    "reduce_sum": Traits(Flow.REDUCED, "axes", linear=_ALL, is_holomorphic=True),
    "dot_general": _product(Flow.CONTRACTED, "dimension_numbers", "dense", (0, 1)),
    "conv_general_dilated": _product(Flow.CONVOLVED, _WINDOWS, "convolution", (1,)),
    "cumlogsumexp cummax cummin cumprod": Traits(Flow.LINES, "axis reverse", axis="axis"),
    "cumsum": Traits(Flow.LINES, "axis reverse", linear=_ALL, axis="axis"),
    "sort": Traits(Flow.LINES, "dimension num_keys", axis="dimension"),
    "reduce_window_sum": Traits(Flow.WINDOWED, _POOL, linear=_ALL),
    "reduce_window_max reduce_window_min": Traits(Flow.WINDOWED, _POOL),
    "fft": Traits(Flow.MIXED, "fft_type fft_lengths", linear=_ALL),
    # solves and loops
    "tridiagonal_solve": Traits(Flow.MIXED, "perturb_singular", linear=slice(3, None)),
    "triangular_solve": Traits(
        Flow.MIXED, "left_side lower transpose_a conjugate_a unit_diagonal", linear=slice(1, None)
    ),
    "linear_solve": Traits(Flow.MIXED, "const_lengths jaxprs", runs=Runs.SOLVE),
    "scan": Traits(Flow.MIXED, _SCAN, runs=Runs.SCAN),
    "cond": Traits(Flow.MIXED, "branches", runs=Runs.COND),
    "while": Traits(Flow.MIXED, "cond_nconsts cond_jaxpr body_nconsts body_jaxpr", runs=Runs.WHILE),
}


def _by_primitive(rows: Mapping[str, Traits]) -> dict[_jax.Primitive, Traits]:
    table: dict[_jax.Primitive, Traits] = {}
    for names, traits in rows.items():
        for primitive in _jax.primitives(names):
            if primitive in table:
                raise ValueError(f"`{primitive}` stands in two rows of the table of primitives.")
            table[primitive] = traits
    return table


TABLE = _by_primitive(_ROWS)
"""Of every primitive with a row that this JAX has."""
IDENTITY = Traits(Flow.PAIRED)
"""Of an equation that only gives a variable another name."""
_UNKNOWN = Traits()


def traits_of(primitive: _jax.Primitive, parameters: Iterable[str]) -> Traits:
    """What is known of an operation; nothing if it has no row, or a parameter that its row does not account for."""
    return TABLE[primitive] if is_accounted_for(primitive, parameters) else _UNKNOWN


def is_accounted_for(primitive: _jax.Primitive, parameters: Iterable[str]) -> bool:
    """Does the row of a primitive hold for these parameters?"""
    return primitive in TABLE and TABLE[primitive].account_for(parameters)
