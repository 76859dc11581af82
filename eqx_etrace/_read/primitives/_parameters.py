"""Which parameters of a primitive the tables account for.

What a table says of a primitive holds for the parameters that were known when it was written: those that its reader
reads, and those that change neither what depends on what nor whether it is linear. JAX adds parameters, and some of
them change what an operation means. So an equation with any other parameter is known to no table: it is mixing, and
reported.
"""

from ... import _jax

_NO_MATTER = (
    "accuracy sharding out_sharding precision preferred_element_type weak_type new_dtype out_dtype input_dtype "
    "exponent_bits mantissa_bits rounding_method index_dtype indices_are_sorted unique_indices is_stable"
)
"""How exactly, where, in which dtype, in which order of equals."""

_READ = {
    "abs acos acosh add add_jaxvals and asin asinh atan atan2 atanh bessel_i0e bessel_i1e cbrt ceil clamp complex "
    "conj convert_element_type copy cos cosh digamma div dynamic_update_slice eq erf erf_inv erfc exp exp2 expm1 "
    "floor ge gt igamma igammac imag is_finite le lgamma log log1p log2 logistic lt max min mul ne neg nextafter not "
    "one_minus_square optimization_barrier or polygamma pow real reduce_precision regularized_incomplete_beta rem "
    "round rsqrt select_n sign sin sinh sqrt square stop_gradient sub tan tanh xor zeta": "",
    "integer_pow": "y",
    "polynomial": "coefficients coeffs",
    "name": "name",
    "sharding_constraint": "context_mesh unconstrained_dims layout",
    "device_put": "devices srcs copy_semantics",
    "argmax argmin reduce_max reduce_min reduce_prod reduce_sum": "axes",
    "reshape": "new_sizes dimensions",
    "rev squeeze": "dimensions",
    "transpose": "permutation",
    "slice": "start_indices limit_indices strides",
    "broadcast_in_dim": "shape broadcast_dimensions",
    "split": "sizes axis",
    "stack unstack": "axis",
    "concatenate": "dimension",
    "pad": "padding_config",
    "dynamic_slice": "slice_sizes",
    "gather": "dimension_numbers slice_sizes mode fill_value",
    "scatter scatter_add": "dimension_numbers mode update_jaxpr update_consts",
    "cumsum cumprod cummax cummin cumlogsumexp": "axis reverse",
    "sort": "dimension num_keys",
    "dot_general": "dimension_numbers",
    "conv_general_dilated": "window_strides padding lhs_dilation rhs_dilation dimension_numbers feature_group_count "
    "batch_group_count",
    "reduce_window_sum": "window_dimensions window_strides padding base_dilation window_dilation",
    "fft": "fft_type fft_lengths",
    "tile": "reps",
    "tridiagonal_solve": "perturb_singular",
    "triangular_solve": "left_side lower transpose_a conjugate_a unit_diagonal",
    "linear_solve": "const_lengths jaxprs",
    "scan": "jaxpr length reverse unroll num_consts num_carry linear ft_in ft_out _split_transpose",
    "cond": "branches",
    "while": "cond_nconsts cond_jaxpr body_nconsts body_jaxpr",
}

ACCOUNTED = {
    primitive: frozenset(f"{_NO_MATTER} {parameters}".split())
    for names, parameters in _READ.items()
    for primitive in _jax.primitives(names)
}
"""By primitive: the parameters that may stand in an equation of it."""


def is_accounted_for(primitive: _jax.Primitive, parameters: dict[str, object]) -> bool:
    """Does what the tables say of a primitive hold for these parameters?"""
    return ACCOUNTED.get(primitive, frozenset()).issuperset(parameters)
