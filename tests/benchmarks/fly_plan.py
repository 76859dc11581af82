"""What a fly's brain takes on 1, 8 and 64 devices, computed from compiled programs: no array is made.

    python tests/benchmarks/fly_plan.py

By `synapses`, their weights, traces and gradients are cut over devices, and every device knows all spikes. By `lanes`
each device has a fly of its own, with all of the weights. Bytes are those of XLA's plan for one device. What
crosses the network in a step is what collectives of the compiled program give to each device.
"""

import os

os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=64"
os.environ["JAX_PLATFORMS"] = "cpu"

import itertools
import math
import re
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from fly import Brain, loss_step
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

import eqx_etrace as etr
from eqx_etrace import connectome, nn

MOVED = r"= (.*?) (all-gather|all-reduce|reduce-scatter|all-to-all|collective-permute)(?:-start)?\("
optimizer = optax.sgd(1e-3)


class Plan:
    """A learner of this size on some devices, without numbers."""

    def __init__(self, size: tuple[int, int], rule: Any, devices: int):
        self.devices, self.online = devices, etr.etrace_grad(loss_step, rule)
        self.mesh = jax.make_mesh((devices,), ("d",), axis_types=(AxisType.Auto,), devices=jax.devices()[:devices])
        # Filled up to what the devices divide.
        self.units, self.synapses = (math.ceil(n / devices) * devices for n in size)

    def abstract(self, shape: tuple[int, ...], spec: P, dtype: Any = jnp.float32) -> Any:
        return jax.ShapeDtypeStruct(shape, dtype, sharding=NamedSharding(self.mesh, spec))

    def brain(self, spec: P) -> Brain:
        one = jnp.zeros(1, int)
        like = jax.eval_shape(lambda: nn.SparseProjection(one, one, jnp.zeros(1), self.units))
        new = [self.abstract((self.synapses,), spec, dtype) for dtype in (jnp.float32, jnp.int32, jnp.int32)]
        return Brain(eqx.tree_at(lambda m: [m.weight, m.source, m.target], like, new))

    def learn(self, brain: Any, v: Any, trace: Any, x: Any) -> Any:
        grads, v, trace = self.online(brain, v, trace, x)
        moved, _ = optimizer.update(grads, optimizer.init(grads))
        return eqx.apply_updates(brain, moved), v, trace

    def by_synapses(self) -> Any:
        """XLA cuts the program; all devices have all spikes."""
        given = self.brain(P("d")), self.abstract((self.units,), P()), self.abstract((self.units,), P())
        where, like = self.online.trace_sharding(*given), jax.eval_shape(self.online.init, *given)
        trace = jax.tree.map(lambda e, s: jax.ShapeDtypeStruct(e.shape, e.dtype, sharding=s), like, where)
        return self.compiled(self.learn, given[0], given[1], trace, given[2])

    def by_lanes(self) -> Any:
        """A fly for each device, which has all of the weights."""
        lane = self.abstract((self.devices, self.units), P("d"))
        one = jax.ShapeDtypeStruct((self.units,), jnp.float32)
        like = jax.eval_shape(self.online.init, self.brain(P()), one, one)
        trace = jax.tree.map(lambda e: self.abstract((self.devices, *e.shape), P("d"), e.dtype), like)

        def here(brain: Any, *lanes: Any) -> Any:
            brain, *after = self.learn(brain, *jax.tree.map(lambda e: e[0], lanes))
            return brain, *jax.tree.map(lambda e: e[None], after)

        specs = P(), P("d"), P("d")
        cut = jax.shard_map(here, mesh=self.mesh, in_specs=(*specs, P("d")), out_specs=specs)
        return self.compiled(cut, self.brain(P()), lane, trace, lane)

    def compiled(self, step: Any, *given: Any) -> Any:
        return jax.jit(step, donate_argnums=(0, 1, 2)).lower(*given).compile()


def bytes_of(program: Any) -> int:
    sizes = program.memory_analysis()
    held = (sizes.argument_size_in_bytes, sizes.output_size_in_bytes, sizes.temp_size_in_bytes)
    return sum(held) - sizes.alias_size_in_bytes


def received(program: Any) -> int:
    """Bytes that collectives give to a device."""
    arrays = [re.findall(r"\w\d+\[([\d,]*)\]", types) for types, _ in re.findall(MOVED, program.as_text() or "")]
    return sum(4 * math.prod(map(int, filter(None, dims.split(",")))) for found in arrays for dims in found)


def main() -> None:
    print("| brain | rule | cut by | devices | bytes per device | received per step |\n|---|---|---|---|---|---|")
    rules, ways = (etr.DRTRL(), etr.PPProp(0.82)), {"synapses": Plan.by_synapses, "lanes": Plan.by_lanes}
    for name, rule, way, devices in itertools.product(("FLYWIRE", "MALE_CNS"), rules, ways, (1, 8, 64)):
        program = ways[way](Plan(getattr(connectome, name), rule, devices))
        held, moved = f"{bytes_of(program) / 1e6:,.1f} MB", f"{received(program) / 1e6:.2f} MB"
        print("|", " | ".join([name, f"`{type(rule).__name__}`", way, str(devices), held, moved]), "|", flush=True)


if __name__ == "__main__":
    main()
