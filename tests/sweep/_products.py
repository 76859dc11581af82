"""Contractions, convolutions, transforms, and what is made of them."""

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.scipy import ndimage, signal

from ._table import both, complex_constant, constant, on

MASK = jnp.asarray([[1.0, 0.0, 2.0], [0.0, 0.0, 1.0], [0.5, 0.0, 0.0]])


def dot(a, b, contracted, batched=((), ()), **options):
    return lax.dot_general(a, b, (contracted, batched), **options)


on(
    (2, 3),
    matmul=lambda v: v @ constant(3, 2),
    matmul_left=lambda v: constant(3, 2) @ v,
    matmul_masked=lambda v: v @ MASK,
    matmul_with_itself=lambda v: v @ v.T,
    matmul_elements=lambda v: v * (v @ constant(3, 3)),
    matvec=lambda v: v @ constant(3),
    vecmat=lambda v: constant(2) @ v,
    dot_vectors=lambda v: jnp.dot(v[0], v[1]),
    vdot=lambda v: jnp.vdot(v, constant(2, 3)),
    vecdot=lambda v: jnp.vecdot(v, constant(2, 3)),
    matvec_function=lambda v: jnp.matvec(v, constant(3)),
    inner=lambda v: jnp.inner(v, constant(2, 3)),
    outer=lambda v: jnp.outer(v[0], v[1]),
    tensordot=lambda v: jnp.tensordot(v, constant(3, 2), 1),
    tensordot_axes=lambda v: jnp.tensordot(v, constant(3, 2), ((0, 1), (1, 0))),
    multi_dot=lambda v: jnp.linalg.multi_dot([v, constant(3, 2), v]),
    matrix_power=lambda v: jnp.linalg.matrix_power(v[:, :2], 3),
    cross=lambda v: jnp.cross(v, constant(2, 3)),
    cross_rows=lambda v: jnp.cross(v[0], v[1]),
    kron_matrix=lambda v: jnp.kron(v[:, :2], jnp.eye(2))[:3],
    polymul=lambda v: jnp.polymul(v[0], v[1]),
    polyadd=lambda v: jnp.polyadd(v[0], v[1, :2]),
    polyder=lambda v: jnp.polyder(v[0]),
    polyint=lambda v: jnp.polyint(v[0]),
    polydiv=lambda v: jnp.polydiv(v[0], v[1, :2] + 2)[0],
    dot_general_batch=lambda v: dot(v, constant(2, 3, 2), ((1,), (1,)), ((0,), (0,))),
    dot_general_batch_right=lambda v: dot(constant(2, 2, 3), v, ((2,), (1,)), ((0,), (0,))),
    dot_general_no_contraction=lambda v: dot(v, constant(2, 2), ((), ()), ((0,), (0,))),
    dot_general_two_contracted=lambda v: dot(v, constant(3, 2), ((0, 1), (1, 0))),
    dot_general_two_batched=lambda v: dot(v, constant(3, 2, 2), ((), ()), ((0, 1), (1, 0))),
    dot_general_free_of_one=lambda v: dot(v, constant(3, 1), ((1,), (0,))),
    dot_general_preferred=lambda v: dot(v, constant(3, 2), ((1,), (0,)), preferred_element_type=jnp.float64),
    dot_general_highest=lambda v: dot(v, constant(3, 2), ((1,), (0,)), precision=lax.Precision.HIGHEST),
    dot_general_both=lambda v: dot(v, v**2, ((1,), (1,)), ((0,), (0,))),
    complex_dot=lambda v: both(lax.complex(v[0], v[1]) @ complex_constant(3, 2)),
    ragged_dot=lambda v: lax.ragged_dot(v, constant(2, 3, 2), jnp.asarray([1, 1])),
    einsum_diagonal=lambda v: jnp.einsum("ii->i", v[:, :2]),
    einsum_trace=lambda v: jnp.einsum("ii", v[:, :2]),
    einsum_transpose=lambda v: jnp.einsum("ij->ji", v),
    einsum_sum=lambda v: jnp.einsum("ij->i", v),
    einsum_rows=lambda v: jnp.einsum("ij,j->ij", v, constant(3)),
    einsum_row_dots=lambda v: jnp.einsum("ij,ij->i", v, constant(2, 3)),
    einsum_outer=lambda v: jnp.einsum("i,j->ij", v[0], v[1]),
    einsum_batch=lambda v: jnp.einsum("bi,bij->bj", v, constant(2, 3, 2)),
    einsum_batch_last=lambda v: jnp.einsum("bi,jib->jb", v, constant(2, 3, 2)),
    einsum_three=lambda v: jnp.einsum("ij,jk,kl->il", v, constant(3, 2), constant(2, 2)),
    einsum_three_batched=lambda v: jnp.einsum("bi,bj,ijk->bk", v, v, constant(3, 3, 2)),
    einsum_ellipsis=lambda v: jnp.einsum("...i,ij->...j", v, constant(3, 2)),
    einsum_summed_out=lambda v: jnp.einsum("ij,kl->ik", v, constant(2, 2)),
    einsum_hadamard=lambda v: jnp.einsum("ij,ij->ij", v, v),
    einsum_bilinear=lambda v: jnp.einsum("i,ijk,j->k", v[0], constant(3, 3, 2), v[1]),
    einsum_heads=lambda v: jnp.einsum("hi,hij->hj", v, constant(2, 3, 3)),
    attention=lambda v: jax.nn.softmax(v @ constant(3, 3) @ v.T) @ v,
    scaled_matmul_like=lambda v: (v * constant(2, 1)) @ (constant(3, 2) * constant(2)),
)
# Its scores are in single precision, whatever comes in.
on((2, 3), tolerance=1e-6, dot_product_attention=lambda v: jax.nn.dot_product_attention(*[v.reshape(1, 2, 1, 3)] * 3))


def conv(x: jax.Array, kernel: jax.Array, strides: Any = (1,), padding: Any = "VALID", **options: Any) -> jax.Array:
    return lax.conv_general_dilated(x, kernel, strides, padding, **options)


on(
    (1, 2, 5),
    conv_valid=lambda v: conv(v, constant(2, 2, 3)),
    conv_same=lambda v: conv(v, constant(1, 2, 3), padding="SAME"),
    conv_strided=lambda v: conv(v, constant(2, 2, 2), (2,)),
    conv_padded=lambda v: conv(v, constant(1, 2, 2), padding=[(2, 1)]),
    conv_padded_less=lambda v: conv(v, constant(1, 2, 2), padding=[(-1, 1)]),
    conv_dilated_kernel=lambda v: conv(v, constant(2, 2, 2), rhs_dilation=(2,)),
    conv_dilated_input=lambda v: conv(v, constant(1, 2, 3), padding=[(1, 1)], lhs_dilation=(2,)),
    conv_dilated_both=lambda v: conv(v, constant(1, 2, 2), (2,), [(1, 2)], lhs_dilation=(2,), rhs_dilation=(3,)),
    conv_grouped=lambda v: conv(v, constant(2, 1, 3), feature_group_count=2),
    conv_grouped_more=lambda v: conv(v, constant(4, 1, 3), feature_group_count=2),
    conv_one=lambda v: conv(v, constant(2, 2, 1)),
    conv_depthwise_one=lambda v: conv(v, constant(2, 1, 1), feature_group_count=2),
    conv_channels_last=lambda v: conv(
        jnp.swapaxes(v, 1, 2), constant(2, 2, 2), dimension_numbers=("NHC", "HIO", "NHC")
    ),
    conv_of_kernel=lambda v: conv(constant(1, 2, 7), v, dimension_numbers=("NCH", "OIH", "NCH")),
    conv_with_itself=lambda v: conv(v, v[..., :2]),
    conv_transposed=lambda v: lax.conv_transpose(
        v, constant(2, 2, 1), (2,), "SAME", dimension_numbers=("NCH", "HIO", "NCH")
    ),
    conv_function=lambda v: lax.conv(v, constant(1, 2, 2), (1,), "SAME"),
    conv_patches=lambda v: lax.conv_general_dilated_patches(v, (2,), (2,), "VALID"),
    conv_local=lambda v: lax.conv_general_dilated_local(v, constant(1, 4, 4), (1,), "VALID", (2,)),
)
on(
    (2, 1, 5),
    conv_batched=lambda v: conv(v, constant(1, 1, 3)),
    conv_batch_groups=lambda v: conv(v, constant(2, 1, 3), batch_group_count=2),
    conv_batch_groups_of_kernel=lambda v: conv(constant(2, 1, 7), v, batch_group_count=2),
    conv_swapped_axes=lambda v: conv(v, constant(2, 2, 2), dimension_numbers=("CNH", "OIH", "CNH")),
    conv_under_vmap=lambda v: jax.vmap(lambda x, k: conv(x[None], k))(v, constant(2, 1, 1, 2)),
    conv_kernel_under_vmap=lambda v: jax.vmap(lambda x: conv(constant(1, 1, 6), x[None]))(v),
)
on(
    (1, 1, 3, 4),
    conv_2d=lambda v: conv(v, constant(1, 1, 2, 2), (1, 1)),
    conv_2d_strided=lambda v: conv(v, constant(2, 1, 2, 2), (2, 1), "SAME"),
    conv_2d_dilated=lambda v: conv(v, constant(1, 1, 2, 2), (1, 1), "SAME", rhs_dilation=(1, 2)),
    conv_with_general_padding=lambda v: lax.conv_with_general_padding(
        v, constant(1, 1, 2, 2), (1, 2), [(0, 1), (1, 0)], None, None
    ),
)
on(
    (6,),
    convolve_full=lambda v: jnp.convolve(v, constant(3)),
    convolve_same=lambda v: jnp.convolve(v, constant(3), mode="same"),
    convolve_valid=lambda v: jnp.convolve(v, constant(3), mode="valid"),
    convolve_by=lambda v: jnp.convolve(constant(3), v, mode="same"),
    convolve_with_itself=lambda v: jnp.convolve(v, v[:2], mode="same"),
    correlate=lambda v: jnp.correlate(v, constant(3), mode="same"),
    correlate_full=lambda v: jnp.correlate(constant(3), v, mode="full"),
    signal_convolve=lambda v: signal.convolve(v, constant(3), mode="same"),
    signal_fftconvolve=lambda v: signal.fftconvolve(v, constant(3), mode="valid"),
    signal_correlate=lambda v: signal.correlate(v, constant(3), mode="valid"),
    detrend=lambda v: signal.detrend(v),
    detrend_constant=lambda v: signal.detrend(v, type="constant"),
    stft=lambda v: jnp.abs(signal.stft(v, nperseg=4)[2] + 3)[:, 0],
    welch=lambda v: signal.welch(v, nperseg=4)[1],
    csd=lambda v: signal.csd(v, v[::-1], nperseg=4)[1].real,
    fft=lambda v: both(jnp.fft.fft(v)),
    fft_long=lambda v: both(jnp.fft.fft(v, 4)),
    ifft=lambda v: both(jnp.fft.ifft(v)),
    fft_back=lambda v: jnp.fft.ifft(jnp.fft.fft(v) * constant(6)).real,
    rfft=lambda v: both(jnp.fft.rfft(v)),
    irfft=lambda v: jnp.fft.irfft(v[:4]),
    irfft_odd=lambda v: jnp.fft.irfft(lax.complex(v[:3], v[3:]), 5),
    hfft=lambda v: jnp.fft.hfft(v[:4]),
    fftshift=lambda v: jnp.fft.fftshift(v),
    dct=lambda v: jax.scipy.fft.dct(v),
    idct=lambda v: jax.scipy.fft.idct(v, norm="ortho"),
    interp=lambda v: jnp.interp(jnp.asarray([0.3, 1.7, 4.2]), jnp.arange(6.0), v),
    interp_points=lambda v: jnp.interp(jnp.asarray([0.3, 1.7, 4.2]), jnp.arange(6.0) + 0.1 * v, constant(6)),
    interp_period=lambda v: jnp.interp(v, jnp.arange(6.0), constant(6), period=6.0),
    savgol_like=lambda v: jnp.convolve(jnp.pad(v, 1, mode="edge"), jnp.full(3, 1 / 3), mode="valid"),
    map_coordinates=lambda v: ndimage.map_coordinates(v, [jnp.asarray([0.3, 2.6, 4.1])], order=1),
    map_coordinates_nearest=lambda v: ndimage.map_coordinates(v, [jnp.asarray([0.3, 7.6])], 0, mode="nearest"),
    map_coordinates_wrap=lambda v: ndimage.map_coordinates(v, [jnp.asarray([0.3, 7.6])], 1, mode="wrap"),
    map_coordinates_mirror=lambda v: ndimage.map_coordinates(v, [jnp.asarray([-1.3, 7.6])], 1, mode="mirror"),
    map_coordinates_at=lambda v: ndimage.map_coordinates(constant(6), [v + 2], 1, mode="reflect"),
    gammatone_like=lambda v: jnp.real(jnp.fft.fft(v)[1:3]),
)
on(
    (2, 4),
    fft_axis=lambda v: both(jnp.fft.fft(v, axis=0)),
    fft_rows=lambda v: jnp.fft.fft(v, axis=1).imag,
    fft2=lambda v: jnp.fft.fft2(v).real,
    fftn_norm=lambda v: jnp.fft.fftn(v, norm="ortho").imag,
    rfft2=lambda v: jnp.fft.rfft2(v).real,
    irfft_axis=lambda v: jnp.fft.irfft(v, axis=0, n=2),
    rfft_under_vmap=lambda v: jax.vmap(lambda row: jnp.fft.rfft(row).real)(v),
    dct_axis=lambda v: jax.scipy.fft.dct(v, axis=0),
    dctn=lambda v: jax.scipy.fft.dctn(v),
    convolve_2d=lambda v: signal.convolve2d(v, constant(2, 2), mode="same"),
    correlate_2d=lambda v: signal.correlate2d(v, constant(2, 2), mode="valid"),
    resize_linear=lambda v: jax.image.resize(v, (2, 6), "linear"),
    resize_nearest=lambda v: jax.image.resize(v, (4, 2), "nearest"),
    resize_cubic=lambda v: jax.image.resize(v, (2, 5), "cubic"),
    resize_lanczos=lambda v: jax.image.resize(v, (2, 3), "lanczos3"),
    resize_no_antialias=lambda v: jax.image.resize(v, (2, 2), "linear", antialias=False),
    scale_and_translate=lambda v: jax.image.scale_and_translate(
        v, (2, 4), (1,), jnp.asarray([0.7]), jnp.asarray([0.4]), "linear"
    ),
    map_coordinates_2d=lambda v: ndimage.map_coordinates(v, [jnp.asarray([0.3, 0.9]), jnp.asarray([1.2, 2.8])], 1),
)
