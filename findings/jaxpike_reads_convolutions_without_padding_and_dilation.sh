#!/usr/bin/env bash
# jaxpike 0.1.4 (nir 1.0.8, jax 0.10.2): `from_nir` reads a convolution with a padding in numbers as one without, and
# each as one without dilation.
#
# Input: a 3 x 3 convolution of NIR on 8 x 8, with padding (1, 1), and with padding "same" and dilation 1 and 2.
#
# Expected: 8 x 8 for (1, 1), which is what convolutions written from PyTorch have; and two outputs for the two
# dilations. Or the error that other nodes and parameters get that the package cannot express.
#
# Seen: 6 x 6 for (1, 1): all that is not the word "same" is taken as valid. The outputs for both dilations are the same;
# `dilation` and `groups` are not read. No warning.
#
# Exits non-zero if the behaviour changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3.11}" -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet "jaxpike==0.1.4" "nir==1.0.8" "equinox==0.13.8" "jax==0.10.2" "jaxlib==0.10.2" \
    "optax==0.2.8" "numpy==2.4.6"
"$folder/env/bin/python" -W ignore - <<'PYTHON'
import jax
import jax.numpy as jnp
import jaxpike
import nir
import numpy as np
from jaxpike import nir as bridge

weight = np.random.default_rng(0).normal(size=(1, 1, 3, 3)).astype(np.float32)
image = jax.random.normal(jax.random.key(0), (1, 8, 8, 1))


def read(padding, dilation):
    shape = {"input": np.array([1, 8, 8])}, {"output": np.array([1, 8, 8])}
    node = nir.Conv2d((8, 8), weight, 1, padding, dilation, 1, np.zeros(1, np.float32))
    nodes = {"input": nir.Input(shape[0]), "conv": node, "output": nir.Output(shape[1])}
    model = bridge.from_nir(nir.NIRGraph(nodes, [("input", "conv"), ("conv", "output")]))
    return jaxpike.unroll(model, image[None])[0][0]


one, near, far = read((1, 1), (1, 1)), read("same", (1, 1)), read("same", (2, 2))
right = jax.lax.conv_general_dilated(image, jnp.transpose(jnp.asarray(weight), (2, 3, 1, 0)), (1, 1), "SAME",
                                     rhs_dilation=(2, 2), dimension_numbers=("NHWC", "HWIO", "NHWC"))
print(f"padding (1, 1): {one.shape}; dilation 1 and 2 differ by {jnp.abs(near - far).max():.3g}, "
      f"the one of 2 is wrong by {jnp.abs(far - right).max():.3g}")
assert one.shape == (1, 6, 6, 1)
assert jnp.array_equal(near, far) and jnp.abs(far - right).max() > 0.1
PYTHON
