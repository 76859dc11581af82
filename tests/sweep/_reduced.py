"""Reductions, what runs along an axis, sorting, windows and statistics."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax, nn
from jax.scipy import special, stats

from ._table import both, complex_constant, constant, on, through_complex

HALF = np.array([[True, False, True], [True, True, False]])

on(
    (2, 3),
    sum=lambda v: v.sum(),
    sum_axis=lambda v: v.sum(1),
    sum_keepdims=lambda v: v.sum(0, keepdims=True),
    sum_axes=lambda v: v.sum((0, 1)),
    sum_where=lambda v: jnp.sum(v, 1, where=HALF),
    sum_float32=lambda v: v.sum(1, dtype=jnp.float64),
    mean=lambda v: v.mean(0),
    mean_where=lambda v: jnp.mean(v, 1, where=HALF),
    prod=lambda v: v.prod(1),
    max=lambda v: v.max(1),
    max_initial=lambda v: jnp.max(v, 1, initial=0.0),
    max_where=lambda v: jnp.max(v, 1, where=HALF, initial=-1.0),
    min=lambda v: v.min(0),
    var=lambda v: v.var(1),
    var_ddof=lambda v: jnp.var(v, 0, ddof=1),
    std=lambda v: v.std(1),
    ptp=lambda v: jnp.ptp(v, 1),
    nansum=lambda v: jnp.nansum(v, 1),
    nanmean=lambda v: jnp.nanmean(v, 0),
    nanmax=lambda v: jnp.nanmax(v, 1),
    nanvar=lambda v: jnp.nanvar(v, 1),
    median=lambda v: jnp.median(v, 1),
    median_all=lambda v: jnp.median(v),
    quantile=lambda v: jnp.quantile(v, 0.3, axis=1),
    quantiles=lambda v: jnp.quantile(v, jnp.asarray([0.2, 0.7]), axis=1),
    quantile_lower=lambda v: jnp.quantile(v, 0.3, axis=1, method="lower"),
    quantile_nearest=lambda v: jnp.quantile(v, 0.3, axis=1, method="nearest"),
    quantile_midpoint=lambda v: jnp.quantile(v, 0.3, axis=1, method="midpoint"),
    percentile=lambda v: jnp.percentile(v, 60.0),
    nanmedian=lambda v: jnp.nanmedian(v, 1),
    average=lambda v: jnp.average(v, 1, weights=constant(3) ** 2),
    average_by=lambda v: jnp.average(constant(3), weights=v[0] + 2),
    count_nonzero=lambda v: jnp.count_nonzero(v > 0) * v,
    all_positive=lambda v: jnp.where(jnp.all(v > -2), v, 0.0),
    argmax_scaled=lambda v: jnp.argmax(v, 1)[:, None] * v,
    logsumexp=lambda v: special.logsumexp(v, 1),
    logsumexp_weighted=lambda v: special.logsumexp(v, axis=0, b=constant(2, 3) ** 2),
    logsumexp_weights=lambda v: special.logsumexp(constant(2, 3), axis=0, b=v + 2),
    logmeanexp=lambda v: nn.logmeanexp(v, 1),
    lax_logsumexp_keepdims=lambda v: nn.logsumexp(v, 1, keepdims=True),
    softmax=lambda v: nn.softmax(v, 0),
    softmax_axes=lambda v: nn.softmax(v, (0, 1)),
    softmax_where=lambda v: nn.softmax(v, 1, where=HALF),
    log_softmax=lambda v: nn.log_softmax(v, 1),
    standardize=lambda v: nn.standardize(v, 1),
    standardize_axis=lambda v: nn.standardize(v, 0),
    lax_reduce_add=lambda v: lax.reduce(v, jnp.zeros(()), lax.add, (1,)),
    lax_reduce_max=lambda v: lax.reduce(v, jnp.asarray(-jnp.inf), lax.max, (0,)),
    lax_reduce_mul=lambda v: lax.reduce(v, jnp.ones(()), lax.mul, (1,)),
    lax_reduce_started=lambda v: lax.reduce(v, jnp.asarray(0.7), lax.add, (1,)),
    lax_reduce_own=lambda v: lax.reduce(v, jnp.zeros(()), lambda a, b: a + 2 * b, (1,)),
    lax_reduce_sum=lambda v: lax.reduce_sum(v, (0,)),
    lax_reduce_prod=lambda v: lax.reduce_prod(v, (1,)),
    lax_reduce_min=lambda v: lax.reduce_min(v, (0, 1)),
    lax_reduce_pair=lambda v: lax.reduce((v, v**2), (0.0, 0.0), lambda a, b: (a[0] + b[0], a[1] + b[1]), (1,))[1],
)
on(
    (2, 4),
    cumsum=lambda v: jnp.cumsum(v, 1),
    cumsum_flat=lambda v: jnp.cumsum(v),
    cumsum_reverse=lambda v: lax.cumsum(v, 1, reverse=True),
    cumsum_rows=lambda v: lax.cumsum(v, 0),
    cumprod=lambda v: jnp.cumprod(v, 1),
    cumprod_reverse=lambda v: lax.cumprod(v, 1, reverse=True),
    cummax=lambda v: lax.cummax(v, 1),
    cummax_reverse=lambda v: lax.cummax(v, 1, reverse=True),
    cummin=lambda v: lax.cummin(v, 0),
    cummin_reverse=lambda v: lax.cummin(v, 1, reverse=True),
    cumlogsumexp=lambda v: lax.cumlogsumexp(v, 1),
    cumlogsumexp_reverse=lambda v: lax.cumlogsumexp(v, 1, reverse=True),
    cumulative_sum=lambda v: jnp.cumulative_sum(v, axis=1, include_initial=True),
    cumulative_prod=lambda v: jnp.cumulative_prod(v, axis=0),
    nancumsum=lambda v: jnp.nancumsum(v, 1),
    diff=lambda v: jnp.diff(v, axis=1),
    diff_twice=lambda v: jnp.diff(v, 2, axis=1),
    diff_prepend=lambda v: jnp.diff(v, axis=1, prepend=0.0),
    ediff1d=lambda v: jnp.ediff1d(v),
    gradient=lambda v: jnp.gradient(v, axis=1),
    gradient_spacing=lambda v: jnp.gradient(v, 0.5, axis=1),
    trapezoid=lambda v: jnp.trapezoid(v, dx=0.5, axis=1),
    trapezoid_at=lambda v: jnp.trapezoid(constant(4), v[0]),
    unwrap=lambda v: jnp.unwrap(4 * v, axis=1),
    sort=lambda v: jnp.sort(v, 1),
    sort_rows=lambda v: jnp.sort(v, 0),
    sort_flat=lambda v: jnp.sort(v, None),
    sort_descending=lambda v: jnp.sort(v, 1, descending=True),
    sort_unstable=lambda v: jnp.sort(v, 1, stable=False),
    sort_pair=lambda v: lax.sort((v, v**2), dimension=1)[1],
    sort_by_constant=lambda v: lax.sort((constant(2, 4), v), dimension=1)[1],
    sort_two_keys=lambda v: lax.sort((jnp.round(v), v**2, v), dimension=1, num_keys=2)[2],
    sort_numbers_by=lambda v: lax.sort((v, jnp.broadcast_to(jnp.arange(4), (2, 4))), dimension=1)[1] * v,
    sort_by_row=lambda v: lax.sort((v[0], v[1]))[1],
    lexsort=lambda v: v[0][jnp.lexsort((v[1], v[0]))],
    sort_complex=lambda v: jnp.sort_complex(lax.complex(v[0], v[1])).imag,
    partition=lambda v: jnp.partition(v, 1, axis=1),
    top_k=lambda v: lax.top_k(v, 2)[0],
    top_k_indices=lambda v: lax.top_k(v, 2)[1] * v[:, :2],
    top_k_axis=lambda v: lax.top_k(v, 1, axis=0)[0],
    approx_max_k=lambda v: lax.approx_max_k(v, 2)[0],
    approx_min_k=lambda v: lax.approx_min_k(v, 2)[0],
    unique=lambda v: jnp.unique(v, size=8, fill_value=0),
    rank=lambda v: stats.rankdata(v, axis=1) * v,
    mode=lambda v: stats.mode(jnp.round(v)).mode,
    sem=lambda v: stats.sem(v, axis=1),
    cov=lambda v: jnp.cov(v),
    cov_columns=lambda v: jnp.cov(v, rowvar=False, bias=True)[0],
    corrcoef=lambda v: jnp.corrcoef(v),
    gaussian_kde=lambda v: stats.gaussian_kde(v[0])(v[1]),
    multivariate_normal=lambda v: stats.multivariate_normal.logpdf(v, jnp.zeros(4), jnp.eye(4)),
    dirichlet=lambda v: stats.dirichlet.logpdf(nn.softmax(v[0]), jnp.full(4, 1.5)),
    multinomial=lambda v: stats.multinomial.logpmf(jnp.arange(4), 6, nn.softmax(v[0])),
)


def windowed(v, by, start, **options):
    return lax.reduce_window(v, start, by, (1, 2), (1, 1), "VALID", **options)


on(
    (2, 4),
    window_sum=lambda v: windowed(v, lax.add, 0.0),
    window_max=lambda v: windowed(v, lax.max, -jnp.inf),
    window_min=lambda v: windowed(v, lax.min, jnp.inf),
    window_strided=lambda v: lax.reduce_window(v, 0.0, lax.add, (1, 2), (1, 2), "SAME"),
    window_padded=lambda v: lax.reduce_window(v, 0.0, lax.add, (1, 3), (1, 2), ((0, 0), (2, 1))),
    window_dilated=lambda v: windowed(v, lax.add, 0.0, window_dilation=(1, 2)),
    window_base_dilated=lambda v: windowed(v, lax.add, 0.0, base_dilation=(1, 2)),
    window_both_axes=lambda v: lax.reduce_window(v, -jnp.inf, lax.max, (2, 2), (1, 1), "SAME"),
    max_pool=lambda v: lax.reduce_window(v, -jnp.inf, lax.max, (1, 2), (1, 2), "VALID"),
    select_and_gather_add=lambda v: jvp_of_max_pool(v),
    pool_gradient=lambda v: vjp_of_max_pool(v),
)


on(
    (2, 4),
    refused=True,
    window_prod=lambda v: windowed(v, lax.mul, 1.0),
    window_own=lambda v: windowed(v, lambda a, b: a + 2 * b, 0.0),
    window_max_dilated=lambda v: windowed(v, lax.max, -jnp.inf, window_dilation=(1, 2)),
)


def jvp_of_max_pool(v):
    """The tangent is what is chosen where the first operand is largest."""
    return jax.jvp(lambda x: lax.reduce_window(x, -jnp.inf, lax.max, (1, 2), (1, 1), "VALID"), (v,), (v**2,))[1]


def vjp_of_max_pool(v):
    return jax.vjp(lambda x: lax.reduce_window(x, -jnp.inf, lax.max, (1, 2), (1, 1), "VALID"), v)[1](v[:, :3] ** 2)[0]


on(
    (2, 3),
    complex_sum=through_complex(lambda z: z.sum(keepdims=True) * complex_constant(3)),
    complex_cumsum=through_complex(lambda z: jnp.cumsum(z)),
    complex_cumprod=through_complex(lambda z: jnp.cumprod(z)),
    complex_halves=lambda v: both(lax.complex(v, v**2)).sum(0),
)
