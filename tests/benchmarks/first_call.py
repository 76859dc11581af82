"""How long the first call takes: analysis and compilation, of a stack of layers, and how that grows with depth.

    python tests/benchmarks/first_call.py --cells leaky gru --layers 5 10 20

Times `init`, then tracing and compiling one step of D-RTRL. `--braintrace PYTHON` times the same stack there:
`compile`, then the first call of the jitted driver over one step. Every figure is the median of three fresh processes.
"""

import argparse
import pathlib
import statistics
import subprocess
import sys
import time

from history import add_option, History

FEATURES, UNITS, BATCH = 32, 64, 4


def first_call(cell: str, layers: int) -> None:
    import equinox as eqx
    import jax
    import jax.numpy as jnp
    from models import CELLS

    import eqx_etrace as etr

    keys = jax.random.split(jax.random.key(0), layers)
    models = [CELLS[cell](UNITS, key, UNITS if i else FEATURES) for i, key in enumerate(keys)]

    def loss_step(models, states, x, y):
        def one(states, x):
            new = []
            for model, state in zip(models, states, strict=True):
                x, state = model(x, state)
                new.append(state)
            return x, new

        out, states = jax.vmap(one)(states, x)
        return jnp.mean((out - y) ** 2), states

    states = [model.init_state((BATCH, UNITS)) for model in models]
    inputs = jnp.ones((BATCH, FEATURES)), jnp.zeros((BATCH, UNITS))
    online = etr.etrace_grad(loss_step, etr.DRTRL())
    jax.block_until_ready(jnp.ones(3) * 2)
    began = time.perf_counter()
    trace = online.init(models, states, *inputs)
    jax.block_until_ready(eqx.filter_jit(online)(models, states, trace, *inputs))
    print(time.perf_counter() - began)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", nargs="+", default=["leaky", "gru"])
    parser.add_argument("--layers", nargs="+", type=int, default=[5, 10, 20])
    parser.add_argument("--braintrace", metavar="PYTHON")
    parser.add_argument("--one", action="store_true", help="one stack, in this process")
    add_option(parser)
    options = parser.parse_args()
    history = History("first_call", "s", options.record)
    if options.one:
        return first_call(options.cells[0], options.layers[0])
    print(f"{'cell':<8}{'layers':>7}  seconds: median (min to max) of three processes")
    here = pathlib.Path(__file__)
    commands = {"ours": [sys.executable, str(here), "--one", "--cells"]}
    if options.braintrace:
        commands["braintrace"] = [options.braintrace, str(here.with_name("peer_first_call.py"))]
    for cell in options.cells:
        for layers in options.layers:
            found: dict[str, list[float]] = {who: [] for who in commands}
            for _ in range(3):
                for who, command in commands.items():
                    sizes = [cell, "--layers", str(layers)] if who == "ours" else [cell, str(layers)]
                    done = subprocess.run([*command, *sizes], capture_output=True, text=True, check=True)
                    found[who].append(float(done.stdout.split()[-1]))
            shown = [f"{who} {statistics.median(t):.2f} ({min(t):.2f} to {max(t):.2f})" for who, t in found.items()]
            print(f"{cell:<8}{layers:>7}  {'   '.join(shown)}", flush=True)
            peer = "braintrace" if options.braintrace else None
            history.append(f"{cell}, {layers} layers", "DRTRL", found["ours"], peer, found.get("braintrace", ()))


if __name__ == "__main__":
    main()
