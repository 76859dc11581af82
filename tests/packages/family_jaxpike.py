"""jaxpike's e-prop and this library's on one network, leaf by leaf: how far each is from BPTT of that network.

Run by `family.sh`. A layer of LIF neurons and a leaky readout, a loss at every step. There e-prop is BPTT, but for the
reset, whose gradient this library's takes as the step has it.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import jaxpike
import numpy as np
from jaxpike.layers import Dense, Sequential
from jaxpike.neurons import LeakyIntegrator, LIF
from jaxpike.online import eprop_grads

import eqx_etrace as etr

keys = jax.random.split(jax.random.key(0), 4)
network = Sequential(Dense(12, 16, key=keys[0]), LIF(20.0), Dense(16, 2, key=keys[1]), LeakyIntegrator(20.0))
network = eqx.tree_at(lambda n: n.layers[0].weight, network, 12.0 * network.layers[0].weight)
xs = jax.random.bernoulli(keys[2], 0.2, (80, 4, 12)).astype(jnp.float32)
ys = jnp.asarray(np.sin(np.arange(2) + np.ones((4, 2)))).astype(jnp.float32)


def step_loss(out):
    return jnp.sum((out - ys) ** 2)


def loss_step(network, state, x):
    state, out = network(state, x)
    return step_loss(out), state


def bptt(network):
    def one(state, x):
        loss, state = loss_step(network, state, x)
        return state, loss

    return jax.lax.scan(one, network.init_state(xs.shape[1:]), xs)[1].sum()


wanted = eqx.filter_grad(bptt)(network)
theirs, _ = eprop_grads(network, xs, step_loss)
online = etr.etrace_grad(loss_step, etr.EProp(), window=0)
state = network.init_state(xs.shape[1:])
ours, _, _ = online.scan(network, state, online.init(network, state, xs[0]), xs)
LEAVES = {
    "weights of the hidden layer": lambda n: n.layers[0].weight,
    "bias of the hidden layer": lambda n: n.layers[0].bias,
    "time constant of the hidden layer": lambda n: n.layers[1].log_tau,
    "weights of the readout": lambda n: n.layers[2].weight,
    "bias of the readout": lambda n: n.layers[2].bias,
    "time constant of the readout": lambda n: n.layers[3].log_tau,
}
print(f"jaxpike {jaxpike.__version__}, eqx_etrace {etr.__version__}: distance to BPTT, relative")
for name, of in LEAVES.items():
    far = [float(jnp.linalg.norm(of(g) - of(wanted)) / jnp.linalg.norm(of(wanted))) for g in (theirs, ours)]
    print(f"| {name} | {far[0]:.1e} | {far[1]:.1e} |")
