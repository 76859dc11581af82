#!/usr/bin/env bash
# memorax 1.0.1 (flax 0.12.8, JAX 0.10.2): MetaMaskWrapper resets the memory at every step but those where it should.
#
# Input: a GRU that reads 8 steps, as RNN(cell) wrapped in MetaMaskWrapper(steps_per_trial=4): two trials of 4 steps.
#
# Expected: the memory is kept within a trial and reset at the start of the second, at step 4. So a change of the input
# at step 0 changes the outputs at steps 0 to 3, and a change at step 3 changes that at step 3 alone.
#
# Seen: step 0 changes the output at step 0 alone; step 3 changes steps 3 and 4. Memory is dropped at each step within a
# trial and kept across the boundary of trials. The wrapper passes on `steps % steps_per_trial != 0`; everything that
# takes a mask in memorax (RNN, Memoroid, and PPO, which hands over `done`) resets where the mask is true. Nothing is
# raised: a recurrent agent trains as one without memory.
#
# Exits non-zero if the behaviour changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet "memorax==1.0.1" "flax==0.12.8" "jax==0.10.2" "jaxlib==0.10.2"
JAX_PLATFORMS=cpu "$folder/env/bin/python" -W ignore - <<'PYTHON'
import flax.linen as nn
import jax
import jax.numpy as jnp
from memorax.networks.sequence_models import MetaMaskWrapper, RNN

T = 8
network = MetaMaskWrapper(sequence_model=RNN(cell=nn.GRUCell(features=3)), steps_per_trial=4)
x = jax.random.normal(jax.random.key(0), (1, T, 2))
done = jnp.zeros((1, T), bool)
state = network.initialize_carry(jax.random.key(1), x.shape)
parameters = network.init(jax.random.key(2), x, done, state)


def run(x):
    return network.apply(parameters, x, done, state)[1]


def changed_by(step):
    moved = jnp.abs(run(x.at[:, step].add(1.0)) - run(x)).max((0, 2))
    return [t for t in range(T) if moved[t] > 1e-6]


print("a change at step 0 reaches the outputs at", changed_by(0), "; expected [0, 1, 2, 3]")
print("a change at step 3 reaches the outputs at", changed_by(3), "; expected [3]")
assert changed_by(0) == [0]
assert changed_by(3) == [3, 4]
PYTHON
