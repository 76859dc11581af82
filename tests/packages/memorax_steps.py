"""The cells of memorax in their wrappers, a sequence of one element at a time; S5 computes in single precision."""

import jax
import jax.numpy as jnp
from check import INPUTS, LANES, row, UNITS
from flax import linen
from memorax.networks import sequence_models as models

NO_RESET = jnp.zeros((LANES, 1), bool)
SPREAD = jax.random.normal(jax.random.key(2), (INPUTS, UNITS))
begin, zeros, f64 = linen.initializers.lecun_normal(), linen.initializers.zeros, jnp.float64
cells = (
    models.MinGRUCell(UNITS),
    models.LRUCell(UNITS, 5),
    models.S5Cell(UNITS, 4),
    models.MambaCell(UNITS, 2, 3, 4, dtype=f64),
    models.FFMCell(UNITS, 3, 2, param_dtype=f64),
    models.LinearAttentionCell(3, 2, begin, zeros, f64),
    models.mLSTMCell(UNITS, 4, 2),
    models.sLSTMCell(UNITS, 4, 2, param_dtype=f64),
    models.SHMCell(3, UNITS, param_dtype=f64),
)

for kind in cells:
    network = (models.RNN if isinstance(kind, linen.RNNCellBase) else models.Memoroid)(cell=kind)

    def cell(model, state, x, network=network):
        state, out = network.apply(model, (x @ SPREAD)[:, None], NO_RESET, state)
        return out[:, 0], state

    start = network.initialize_carry(jax.random.key(0), (LANES, UNITS))
    model = network.init(jax.random.key(0), jnp.ones((LANES, 1, UNITS)), NO_RESET, start)
    single = 1e-6 if isinstance(kind, models.S5Cell) else 1e-9
    row("memorax", type(kind).__name__, cell, model, start, within=single)
