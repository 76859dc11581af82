"""How much a rule keeps, and what that buys: the Add task on a sparse recurrent network, one unbroken stream.

    python examples/sparsity_ladder.py                 # seed 0, less than a minute
    python examples/sparsity_ladder.py --seeds 0 1 2 3 4

At every step comes a bit x_t, as (x_t, 1 - x_t), and a target bit y_t with

    P(y_t = 1)  =  0.5 + 0.5 x_{t-6} - 0.25 x_{t-10} .

The cross entropy of whoever knows nothing of the past is 0.6616 nats, of whoever knows the bit of ten steps ago 0.6277,
of six 0.5192, of both 0.4545. Of the recurrent weights of a tanh network of 32 units one in ten is there, the same ones
for every rule. Parameters change at every step. A rule must carry credit over six steps, then ten: without a trace
there is none, SnAp-n carries the more of it the larger n, and RTRL all.

Task and ladder: Menick et al., "Practical real time recurrent learning with a sparse approximation", ICLR 2021, after
Pitis' "Add" task for recurrent networks.
"""

import argparse
import statistics
import time

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

import eqx_etrace as etr

UNITS, DENSITY, BATCH = 32, 0.1, 4
RULES = {
    "NoTrace": etr.NoTrace(),
    "SnAp-1": etr.SnAp(1),
    "SnAp-2": etr.SnAp(2),
    "SnAp-3": etr.SnAp(3),
    "DRTRL": etr.DRTRL(),
    "RTRL": etr.RTRL(),
}


def add_task(rng: np.random.Generator, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """A stream: bits [steps, BATCH] and targets [steps, BATCH]."""
    bits = rng.integers(0, 2, (steps + 10, BATCH)).astype(float)
    chance = 0.5 + 0.5 * bits[4:-6] - 0.25 * bits[:-10]
    return bits[10:], (rng.random((steps, BATCH)) < chance).astype(float)


class Network(eqx.Module):
    """A tanh network, some of whose recurrent weights are there, and a linear readout."""

    recurrent: Float[Array, "n n"]
    encoder: eqx.nn.Linear
    readout: eqx.nn.Linear

    def __init__(self, mask: Float[np.ndarray, "n n"], rng: np.random.Generator):
        n = mask.shape[0]
        keys = jax.random.split(jax.random.key(int(rng.integers(2**31))))
        self.recurrent = jnp.asarray(mask * rng.uniform(-1, 1, (n, n)) / np.sqrt(DENSITY * n), jnp.float32)
        self.encoder, self.readout = eqx.nn.Linear(2, n, key=keys[0]), eqx.nn.Linear(n, "scalar", key=keys[1])


def step_with(mask: Float[np.ndarray, "n n"]):
    """The step. It closes over the mask: a constant, so that its zeros count as structure."""

    def loss_step(model: Network, state: Array, x: Array, y: Array) -> tuple[Array, Array]:
        def one(h: Array, x: Array) -> tuple[Array, Array]:
            h = jnp.tanh((mask * model.recurrent) @ h + model.encoder(jnp.stack([x, 1 - x])))
            return model.readout(h), h

        logits, state = jax.vmap(one)(state, x)
        return optax.sigmoid_binary_cross_entropy(logits, y).mean(), state

    return loss_step


def train(rule: etr.AbstractRule, seed: int, steps: int) -> Float[np.ndarray, " steps"]:
    """The loss at every step of one stream."""
    rng = np.random.default_rng(seed)
    mask = (rng.random((UNITS, UNITS)) < DENSITY).astype(np.float32)
    model = Network(mask, rng)
    xs, ys = (jnp.asarray(part, jnp.float32) for part in add_task(rng, steps))
    online = etr.etrace_value_and_grad(step_with(mask), rule)
    optimiser = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(1e-3))
    state = jnp.zeros((BATCH, UNITS))
    trace = online.init(model, state, xs[0], ys[0])
    moments = optimiser.init(eqx.filter(model, eqx.is_inexact_array))

    def learn(carry, now):
        model, state, trace, moments = carry
        (loss, gradients), state, trace = online(model, state, trace, *now)
        updates, moments = optimiser.update(gradients, moments)
        return (eqx.apply_updates(model, updates), state, trace, moments), loss

    @jax.jit
    def stream(carry, xs, ys):
        return jax.lax.scan(learn, carry, (xs, ys))

    return np.asarray(stream((model, state, trace, moments), xs, ys)[1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--rules", nargs="+", default=list(RULES), choices=list(RULES))
    parser.add_argument("--steps", type=int, default=20_000)
    options = parser.parse_args()
    last = options.steps // 10
    print(f"Cross entropy over the last {last:,} of {options.steps:,} steps (nothing known 0.6616, everything 0.4545):")
    for name in options.rules:
        began = time.perf_counter()
        found = [float(train(RULES[name], seed, options.steps)[-last:].mean()) for seed in options.seeds]
        each = (time.perf_counter() - began) / len(found)
        shown = " ".join(f"{loss:.4f}" for loss in found)
        print(f"   {name:8} median {statistics.median(found):.4f}   of {shown}   ({each:.0f} s each)", flush=True)


if __name__ == "__main__":
    main()
