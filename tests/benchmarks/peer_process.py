"""braintrace on the same networks, in a process of its own: reads lines from stdin, answers on stdout.

Started by `throughput.py --braintrace PYTHON` with an interpreter that has braintrace; not meant to be run by hand.
The first line is JSON: the settings and a file with the weights and the data. Then each line names a method,
and the answer is JSON: milliseconds per step of one more run, and the loss.
"""

import json
import sys
import time

import brainstate
import braintrace
import jax
import jax.numpy as jnp
import numpy as np


class Leaky(brainstate.nn.Module):
    def __init__(self, n_in, n):
        super().__init__()
        self.n, self.linear = n, braintrace.nn.Linear(n_in + n, n)

    def init_state(self, batch_size=None, **_):
        self.h = brainstate.HiddenState(jnp.zeros((batch_size, self.n)))

    def update(self, x):
        y = self.linear(jnp.concatenate([x, self.h.value], -1))
        self.h.value = 0.9 * self.h.value + 0.1 * jnp.tanh(y)
        return self.h.value


@jax.custom_vjp
def spike(x):
    return (x > 0).astype(x.dtype)


spike.defvjp(lambda x: (spike(x), x), lambda x, g: (g * 0.3 * jax.nn.relu(1 - jnp.abs(x)),))


class ALIF(brainstate.nn.Module):
    def __init__(self, n_in, n):
        super().__init__()
        self.n, self.linear = n, braintrace.nn.Linear(n_in + n, n)

    def init_state(self, batch_size=None, **_):
        self.V = brainstate.HiddenState(jnp.zeros((batch_size, self.n)))
        self.a = brainstate.HiddenState(jnp.zeros((batch_size, self.n)))

    def update(self, x):
        z = spike(self.V.value - 1 - self.a.value)
        y = self.linear(jnp.concatenate([x, z], -1))
        self.V.value = 0.9 * self.V.value + y - jax.lax.stop_gradient(z)
        self.a.value = 0.95 * self.a.value + 0.1 * z
        return spike(self.V.value - 1 - self.a.value)


class GRU(brainstate.nn.Module):
    def __init__(self, n_in, n):
        super().__init__()
        self.cell = braintrace.nn.GRUCell(n_in, n)

    def update(self, x):
        return self.cell(x)


CELLS = {"leaky": Leaky, "alif": ALIF, "gru": GRU}


class Network(brainstate.nn.Module):
    def __init__(self, cell, n_in, n, n_out, weights):
        super().__init__()
        self.cell, self.readout = CELLS[cell](n_in, n), brainstate.nn.Linear(n, n_out)
        if cell != "gru":
            self.cell.linear.weight.value = {"weight": weights["weight"].T, "bias": weights["bias"]}
        self.readout.weight.value = {"weight": weights["readout"].T, "bias": weights["readout_bias"]}

    def update(self, x):
        return self.readout(self.cell(x))


def prepare(settings, data):
    """The compiled methods, by name: functions from nothing to a loss."""
    xs, ys = jnp.asarray(data["xs"]), jnp.asarray(data["ys"])
    sizes = xs.shape[2], settings["units"], ys.shape[2]

    def make(name, rule, chunk, **options):
        net = Network(settings["cell"], *sizes, {k: jnp.asarray(data[k]) for k in data.files})
        multi = {"vjp_method": "multi-step"} if chunk else {}
        learner = braintrace.compile(net, rule, xs[0], batch_size=xs.shape[1], **multi, **options)

        def step_loss(x, y):
            out = learner(braintrace.MultiStepData(x) if chunk else x)
            return jnp.mean((out - y) ** 2, axis=(1, 2)) if chunk else jnp.mean((out - y) ** 2)

        def run(xs, ys):
            grads, loss = learner.etrace_grad(
                xs, ys, step_fn=step_loss, chunk_size=chunk, reduction="sum", loss_output="scalar", return_value=True
            )
            return grads, loss

        return brainstate.transform.jit(run)

    kinds = {
        "braintrace D_RTRL step": ("d_rtrl", None, {}),
        "braintrace D_RTRL window 32": ("d_rtrl", 32, {}),
        "braintrace pp_prop step": ("pp_prop", None, {"decay_or_rank": 0.95}),
    }
    return {name: make(name, rule, chunk, **options) for name, (rule, chunk, options) in kinds.items()}, xs, ys


def main():
    settings = json.loads(sys.stdin.readline())
    runs, xs, ys = prepare(settings, np.load(settings["file"]))
    print(json.dumps({"methods": list(runs), "version": braintrace.__version__, "jax": jax.__version__}), flush=True)
    for line in sys.stdin:
        name = line.strip()
        began = time.perf_counter()
        try:
            _, loss = jax.block_until_ready(runs[name](xs, ys))
        except Exception as error:  # What a peer refuses is a result, too.
            print(json.dumps({"error": f"{type(error).__name__}: {error}"[:300]}), flush=True)
            continue
        taken = (time.perf_counter() - began) / xs.shape[0] * 1e3
        print(json.dumps({"ms": taken, "loss": float(loss)}), flush=True)


if __name__ == "__main__":
    main()
