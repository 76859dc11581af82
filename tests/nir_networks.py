"""The networks that are given to other packages: every kind of layer, alone or before another, with a loop or not.

16 units, 8 inputs, 200 steps, a tenth of the steps spiking, in double precision. Weights have digits enough that no
membrane lies on its threshold: there, packages that ask for more than the threshold differ from those that do not.
"""

import functools
from collections.abc import Iterator
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

from eqx_etrace import nn
from eqx_etrace.nir import from_nir, to_nir

INPUTS, UNITS, STEPS = 8, 16, 200
XS = jr.bernoulli(jr.key(1), 0.3, (STEPS, INPUTS)).astype(float)
BY_UNIT: dict[str, Any] = {
    "tau": jnp.linspace(12.0, 27.0, UNITS),
    "V_th": jnp.linspace(0.8, 1.3, UNITS),
    "R": jnp.linspace(15.0, 20.0, UNITS),
}
KINDS = {
    f"{kind} {reset}{'' if leaky else ' after'}": functools.partial(getattr(nn, kind), reset=reset, leaky_reset=leaky)
    for kind in ("IF", "LIF", "CuBaLIF")
    for reset in ("soft", "hard")
    for leaky in (True, False)
}


def drawn(seed: int, *shape: int) -> Any:
    return jr.normal(jr.key(seed), shape)


class Net(eqx.Module):
    """A layer, perhaps one that hears itself, and perhaps another one."""

    fc: Any
    bias: Any
    rec: Any
    cell: Any
    back: Any
    last: Any

    def init_state(self) -> Any:
        return self.cell.init_state(UNITS), None if self.last is None else self.last.init_state(UNITS)

    def __call__(self, x: Any, state: Any) -> Any:
        one, two = state
        current = self.fc @ x + self.bias
        if self.rec is not None:
            current = current + self.rec @ self.cell.spike(one)
        z, one = self.cell(current, one)
        if self.last is None:
            return z, (one, two)
        y, two = self.last(self.back @ z, two)
        return y, (one, two)


def step(model: Any, state: Any, x: Any) -> Any:
    return model(x, state)


def run(model: Any, state: Any, xs: Any = XS) -> np.ndarray:
    return np.asarray(_scanned(model, state, xs))


@eqx.filter_jit
def _scanned(model: Any, state: Any, xs: Any) -> Any:
    return jax.lax.scan(lambda state, x: model(x, state)[::-1], state, xs)[1]


def network(cell: Any, *, loop: bool = False, last: Any = None) -> Net:
    """With weights under which a unit spikes in about a tenth of the steps."""
    for scale in (0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 0.7, 1, 1.5, 2, 3, 5, 8):
        net = Net(
            fc=scale * drawn(0, UNITS, INPUTS),
            bias=0.2 * scale * drawn(1, UNITS),
            rec=0.5 * scale * drawn(2, UNITS, UNITS) if loop else None,
            cell=cell,
            back=None if last is None else 2 * scale * drawn(3, UNITS, UNITS),
            last=last,
        )
        if run(net, net.init_state()).mean() > 0.1:
            return net
    raise AssertionError("silent")


def cases() -> Iterator[tuple[str, str, Net]]:
    """(row of the table, name, network): three or four networks for each row."""
    for row, make in KINDS.items():
        for loop in (False, True):
            name = f"{row}{', loop' if loop else ''}"
            yield name, f"{name}, numbers", network(make(), loop=loop)
            yield name, f"{name}, by unit", network(make(**BY_UNIT), loop=loop)
            yield name, f"{name}, two layers", network(make(), loop=loop, last=make(**BY_UNIT))
    for readout in (nn.Expon(tau=15.0), nn.LeakyIntegrator(tau=15.0, R=3.0)):
        name = f"{type(readout).__name__} behind a neuron"
        for neuron in ("LIF soft", "LIF hard", "CuBaLIF soft", "LIF soft after"):
            yield name, f"{name}, {neuron}", network(KINDS[neuron](), last=readout)


LIF, STATE = nn.LIF(reset="hard"), nn.LIF().init_state(UNITS)
"""One layer, and weights before it."""
W = drawn(0, UNITS, INPUTS)


def read(graph: Any, **said: Any) -> Any:
    return from_nir(graph, **said)


def written(net: Any, **options: Any) -> Any:
    return to_nir(step, net, net.init_state(), jnp.zeros(INPUTS), **options)
