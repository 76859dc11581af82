#!/usr/bin/env bash
# memorax 1.0.1 (flax 0.12.8, JAX 0.10.2): FFMCell is one model on a sequence and another one step by step.
#
# Input: Memoroid(cell=FFMCell(...)), its own initial carry, no resets: 6 steps in one call; the same 6 steps in 6 calls
# that hand the carry on; the same in two calls of 3 steps.
#
# Expected: the same outputs, to rounding. So it is for the other cells (shown: LRUCell), and an agent relies on it: it
# acts step by step and is trained on sequences.
#
# Seen: they differ. The cell numbers the steps of each call from 0, but the carry keeps the number of the last step, and
# the decay between two steps is a function of the difference of their numbers. From call to call of one step that is 0:
# nothing is forgotten. After a call of 3 steps it is -2: the past is multiplied by exp(2 |a|), more than 1, where it
# should be multiplied by exp(-|a|). With the numbers corrected in the carry by hand, all three agree.
#
# Exits non-zero if the behaviour changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet "memorax==1.0.1" "flax==0.12.8" "jax==0.10.2" "jaxlib==0.10.2"
JAX_PLATFORMS=cpu "$folder/env/bin/python" -W ignore - <<'PYTHON'
import jax
import jax.numpy as jnp
from memorax.networks.sequence_models import FFMCell, LRUCell, Memoroid

T, F = 6, 4
x = jax.random.normal(jax.random.key(0), (1, T, F))
mask = jnp.zeros((1, T), bool)


def from_the_last_step(carry):
    state, number = carry
    return state, jnp.full_like(number, -1)


def worst(cell, size, mend=lambda carry: carry):
    """The largest difference between one call and calls of `size` steps."""
    network = Memoroid(cell=cell)
    start = network.initialize_carry(jax.random.key(0), (1, F))
    parameters = network.init(jax.random.key(1), x, mask, start)
    carry, pieces = start, []
    for t in range(0, T, size):
        carry, out = network.apply(parameters, x[:, t : t + size], mask[:, t : t + size], mend(carry))
        pieces.append(out)
    whole = network.apply(parameters, x, mask, start)[1]
    return float(jnp.abs(whole - jnp.concatenate(pieces, 1)).max())


ffm = FFMCell(features=F, memory_size=3, context_size=2, max_period=8)
lru = LRUCell(features=F, hidden_dim=5)
for size in (1, 3):
    print(f"calls of {size}: LRU {worst(lru, size):.1e}, FFM {worst(ffm, size):.1e}, ", end="")
    print(f"FFM with corrected numbers {worst(ffm, size, from_the_last_step):.1e}")
    assert worst(lru, size) < 1e-4
    assert worst(ffm, size) > 1e-2
    assert worst(ffm, size, from_the_last_step) < 1e-4
PYTHON
