"""The head of a relation: how an effective weight w~ and data x make the output y.

Every head is bilinear, and so an einsum says all of it. Write the elements of y as **rows** r (first the
units, then the batch: what is contracted together lies together), the features that a row sees as f:

    e[r, f]     the trace of one state, laid out by rows and features
    outer       e[r, f]  =  dh/dy[r] x[r, f]
    contract    w~[...]  =  sum  g[r] e[r, f]
    pull        w~[...]  =  sum  g[r] x[r, f]          the head's own VJP

A dense head contracts f, a convolution sees patches, an elementwise parameter has no features at all.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Inexact

from .._analysis._program import Program
from .._analysis._tail import Site

_LETTERS = "abcdefghijklmnopqrstuvwxyz"


@dataclasses.dataclass(frozen=True)
class Head:
    """An einsum over rows, features and weight, and how to bring y, x and w~ into it."""

    rows: str
    features: str | None
    trace: str
    weight: str
    shape: tuple[int, ...]
    """The shape of the trace of one state."""
    to_rows: Callable[[Any], Any]
    """From the layout of y to rows; for arrays of JAX and of NumPy alike."""
    to_features: Callable[[Array], Array]
    to_weight: Callable[[Array], Array]

    def spread(self, rows: Inexact[Array, "..."]) -> Inexact[Array, "..."]:
        """One number per row, broadcast against the trace."""
        return rows.reshape(rows.shape + (1,) * (len(self.trace) - len(self.rows)))

    def outer(self, rows: Inexact[Array, "..."], x: Inexact[Array, "..."] | None) -> Inexact[Array, "..."]:
        if self.features is None or x is None:
            return rows
        return jnp.einsum(f"{self.rows},{self.features}->{self.trace}", rows, x)

    def contract(self, rows: Inexact[Array, "..."], trace: Inexact[Array, "..."]) -> Inexact[Array, "..."]:
        return self.to_weight(jnp.einsum(f"{self.rows},{self.trace}->{self.weight}", rows, trace))

    def pull(self, rows: Inexact[Array, "..."], x: Inexact[Array, "..."] | None) -> Inexact[Array, "..."]:
        if self.features is None or x is None:
            return self.to_weight(rows)
        return self.to_weight(jnp.einsum(f"{self.rows},{self.features}->{self.weight}", rows, x))


def make_head(program: Program, site: Site) -> Head:
    return {"elementwise": _elementwise, "dense": _dense, "convolution": _convolution}[site.kind](program, site)


def _same(array: Array) -> Array:
    return array


def _elementwise(program: Program, site: Site) -> Head:
    shape = program.shape(site.weight)
    letters = _LETTERS[: len(shape)]
    return Head(letters, None, letters, letters, shape, lambda y: y, _same, _same)


def _dense(program: Program, site: Site) -> Head:
    eqn = site.equation
    w = eqn.inputs.index(site.weight)
    contracting, batch = eqn.params["dimension_numbers"]
    shapes = [program.shape(v) for v in eqn.inputs]
    letters = iter(_LETTERS)
    names: list[dict[int, str]] = [{}, {}]
    for left, right in [*zip(*batch, strict=True), *zip(*contracting, strict=True)]:
        names[0][left] = names[1][right] = next(letters)
    for side in (0, 1):
        for d in range(len(shapes[side])):
            names[side].setdefault(d, next(letters))

    def letters_of(side: int, dims: Sequence[int]) -> str:
        return "".join(names[side][d] for d in dims)

    def free(side: int) -> str:
        taken = (*batch[side], *contracting[side])
        return letters_of(side, [d for d in range(len(shapes[side])) if d not in taken])

    lead = letters_of(0, batch[0])
    y, rows = lead + free(0) + free(1), lead + free(w) + free(1 - w)
    features = letters_of(1 - w, range(len(shapes[1 - w])))
    weight = letters_of(w, range(len(shapes[w])))
    sizes = {name: shapes[side][d] for side in (0, 1) for d, name in names[side].items()}
    trace = rows + letters_of(w, contracting[w])
    order = [y.index(name) for name in rows]
    return Head(
        rows, features, trace, weight, tuple(sizes[c] for c in trace), lambda a: a.transpose(order), _same, _same
    )


def _convolution(program: Program, site: Site) -> Head:
    """Kernel O I k, grouped: rows (group, channel, batch, place), features (input channel, kernel place)."""
    eqn = site.equation
    params = eqn.params
    x_dims, w_dims, y_dims = params["dimension_numbers"]
    kernel, y_shape = program.shape(site.weight), program.shape(eqn.outputs[0])
    groups = params["feature_group_count"]
    out, into, *places = (kernel[d] for d in w_dims)
    n, _, *space = (y_shape[d] for d in y_dims)
    place, size = int(np.prod(space)), into * int(np.prod(places))

    def to_rows(y: Any) -> Any:
        return y.transpose(y_dims).reshape(n, groups, out // groups, place).transpose(1, 2, 0, 3)

    def to_features(x: Array) -> Array:
        patches = jax.lax.conv_general_dilated_patches(
            x.transpose(x_dims),
            places,
            params["window_strides"],
            params["padding"],
            params["lhs_dilation"],
            params["rhs_dilation"],
            precision=params["precision"],
        )
        return patches.reshape(n, groups, size, place)

    def to_weight(flat: Array) -> Array:
        return flat.reshape(out, into, *places).transpose(np.argsort(w_dims))

    return Head(
        "gonp", "ngfp", "gonpf", "gof", (groups, out // groups, n, place, size), to_rows, to_features, to_weight
    )
