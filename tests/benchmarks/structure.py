"""RTRL beside a trace written by hand for the same recurrence, against n: time per step and bytes of the trace.

    python tests/benchmarks/structure.py --units 64 256 1024

Three recurrences whose Jacobian falls into blocks: diagonal (1 scalar), heads (`width` scalars), and a complex diagonal
one (a linear recurrent unit; 2 scalars). Each is trained by a linear readout of the new state, in a batch. The trace by
hand is what a paper on the model gives, in plain JAX: it shares no code with the library. Both give one summed gradient
per call of so many steps, checked to be equal, and run in turn, round by round; the table has medians and their ratio.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from history import add_option, History
from jaxtyping import Array

import eqx_etrace as etr

N_IN, N_OUT = 32, 10
Pieces = tuple[Callable[..., Any], Any, Any, Callable[..., Any]]
"""loss_step, model, state of one batch, and advance(model, h, traces, x) -> (h, traces), of one lane."""


def supervised(cell: Callable[..., Any]) -> Callable[..., Any]:
    def loss_step(model, state, x, y):
        state = jax.vmap(cell, (None, 0, 0))(model, state, x)
        return readout_loss(model["r"], state, y), state

    return loss_step


def readout_loss(r: Array, h: Array, y: Array) -> Array:
    flat = h.reshape(h.shape[0], -1)
    flat = jnp.concatenate([flat.real, flat.imag], 1) if jnp.iscomplexobj(flat) else flat
    return jnp.mean((flat @ r.T - y) ** 2)


def diagonal(n: int, draw: Callable[..., Array]) -> tuple[Any, Any, Any, Any, Any]:
    """h = tanh(a h + W x): e_a = f' (a e_a + h), e_W = f' (a e_W + x)."""
    model = {"a": draw(n), "w": draw(n, N_IN), "r": draw(N_OUT, n)}

    def cell(m, h, x):
        return jnp.tanh(m["a"] * h + m["w"] @ x)

    def advance(m, h, e, x):
        new = cell(m, h, x)
        slope = 1 - new**2
        e_a = slope * (m["a"] * e["a"] + h)
        e_w = (slope * m["a"])[:, None] * e["w"] + slope[:, None] * x
        return new, {"a": e_a, "w": e_w}

    def contract(g, e):
        return {"a": (g * e["a"]).sum(0), "w": jnp.einsum("bi,bik->ik", g, e["w"])}

    return cell, advance, contract, model, (n,)


def heads(n: int, draw: Callable[..., Array], width: int) -> tuple[Any, Any, Any, Any, Any]:
    """h = tanh(W h + V x) by head: e[i, q, :] = f'_i (sum_j W_ij e[j, q, :] + d_iq (h, x))."""
    count = n // width
    model = {"w": draw(count, width, width), "v": draw(count, width, N_IN), "r": draw(N_OUT, n)}
    eye = jnp.eye(width)

    def cell(m, h, x):
        return jnp.tanh(jnp.einsum("hij,hj->hi", m["w"], h) + jnp.einsum("hik,k->hi", m["v"], x))

    def advance(m, h, e, x):
        new = cell(m, h, x)
        slope = 1 - new**2
        jacobian, entry = slope[:, :, None] * m["w"], slope[:, :, None] * eye
        met = {"w": h[:, None, None], "v": x[None, None, None]}
        e = {k: jnp.einsum("hij,hjqk->hiqk", jacobian, e[k]) + entry[..., None] * met[k] for k in e}
        return new, e

    def contract(g, e):
        return {k: jnp.einsum("bhi,bhiqk->hqk", g, e[k]) for k in e}

    return cell, advance, contract, model, (count, width)


def complex_diagonal(n: int, draw: Callable[..., Array]) -> tuple[Any, Any, Any, Any, Any]:
    """h = c h + B x, both complex: e_c = c e_c + h, e_B = c e_B + x (dh = e dw, in the complex sense)."""
    c = 0.9 * jnp.exp(1j * draw(n).astype(jnp.complex64))
    model = {"c": c, "b": jax.lax.complex(draw(n, N_IN), draw(n, N_IN)), "r": draw(N_OUT, 2 * n)}

    def cell(m, h, x):
        return m["c"] * h + m["b"] @ x.astype(h.dtype)

    def advance(m, h, e, x):
        return cell(m, h, x), {"c": m["c"] * e["c"] + h, "b": m["c"][:, None] * e["b"] + x.astype(h.dtype)}

    def contract(g, e):
        return {"c": (g * e["c"]).sum(0), "b": jnp.einsum("bi,bik->ik", g, e["b"])}

    return cell, advance, contract, model, (n,)


def by_hand(advance: Callable[..., Any], contract: Callable[..., Any]) -> Callable[..., Any]:
    def run(model, state, trace, xs, ys):
        def step(carry, now):
            state, trace, total = carry
            x, y = now
            state, trace = jax.vmap(advance, (None, 0, 0, 0))(model, state, trace, x)
            on_r, on_state = jax.grad(readout_loss, (0, 1))(model["r"], state, y)
            found = {**contract(on_state, trace), "r": on_r}
            return (state, trace, jax.tree.map(jnp.add, total, found)), None

        (state, trace, total), _ = jax.lax.scan(step, (state, trace, jax.tree.map(jnp.zeros_like, model)), (xs, ys))
        return total, state, trace

    return run


def online(cell: Callable[..., Any], rule: Any) -> Any:
    return etr.etrace_grad(supervised(cell), rule)


RECURRENCES: dict[str, Callable[..., Any]] = {
    "diagonal": diagonal,
    "heads of 4": lambda n, draw: heads(n, draw, 4),
    "heads of 8": lambda n, draw: heads(n, draw, 8),
    "complex diagonal": complex_diagonal,
}


def megabytes(tree: Any) -> float:
    return sum(x.nbytes for x in jax.tree.leaves(tree) if eqx.is_array(x)) / 1e6


def compare(name: str, n: int, batch: int, steps: int, rounds: int, history: History) -> str:
    keys = iter(jax.random.split(jax.random.key(0), 20))
    cell, advance, contract, model, shape = RECURRENCES[name](
        n, lambda *s: 0.3 * jax.random.normal(next(keys), s) if len(s) < 3 else jax.random.normal(next(keys), s) / 4
    )
    kind = complex if "complex" in name else float
    state = jnp.zeros((batch, *shape), jnp.complex64 if kind is complex else jnp.float32)
    xs, ys = jax.random.normal(next(keys), (steps, batch, N_IN)), jax.random.normal(next(keys), (steps, batch, N_OUT))
    ours = online(cell, etr.RTRL())
    trace = ours.init(model, state, xs[0], ys[0])
    hand = jax.tree.map(
        jnp.zeros_like,
        {k: v for k, v in _influence_of(model, shape, batch, state.dtype).items() if k != "r"},
    )
    runs = {"hand": by_hand(advance, contract), "ours": lambda m, s, t, x, y: ours.scan(m, s, t, x, y)}
    carries = {"hand": (state, hand), "ours": (state, trace)}
    compiled = {k: jax.jit(run).lower(model, *carries[k], xs, ys).compile() for k, run in runs.items()}
    found = {k: compiled[k](model, *carries[k], xs, ys)[0] for k in runs}
    worst = max(
        float(jnp.abs(a - b).max() / jnp.abs(b).max())
        for a, b in zip(jax.tree.leaves(found["ours"]), jax.tree.leaves(found["hand"]), strict=True)
    )
    assert worst < 1e-3, worst
    times: dict[str, list[float]] = {k: [] for k in runs}
    for _ in range(rounds):
        for k in runs:
            began = time.perf_counter()
            jax.block_until_ready(compiled[k](model, *carries[k], xs, ys))
            times[k].append((time.perf_counter() - began) / steps * 1e3)
    history.append(f"{name}, n = {n}, batch {batch}", "RTRL window 1", times["ours"], "by hand", times["hand"])
    a, b = (statistics.median(times[k]) for k in ("ours", "hand"))
    size = {k: megabytes(carries[k][1]) for k in runs}
    spread = f"{min(times['ours']):.3f} to {max(times['ours']):.3f}"
    return (
        f"{name:<18}{n:>6}{a:>10.4f}{b:>10.4f}{a / b:>8.2f}{spread:>20}{size['ours']:>10.3f}{size['hand']:>10.3f}"
        f"{size['ours'] / size['hand']:>8.2f}{worst:>10.1e}"
    )


def _influence_of(model: Any, shape: tuple[int, ...], batch: int, dtype: Any) -> dict[str, Array]:
    """A trace by hand: for heads one influence on every unit of the head."""
    if len(shape) == 1:
        return {k: jnp.zeros((batch, *w.shape), dtype) for k, w in model.items()}
    count, width = shape
    return {k: jnp.zeros((batch, count, width, *w.shape[1:]), dtype) for k, w in model.items() if k != "r"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--units", nargs="+", type=int, default=[64, 256, 1024])
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--recurrences", nargs="+", default=list(RECURRENCES))
    add_option(parser)
    options = parser.parse_args()
    history = History("structure", "ms per step", options.record, jax.devices()[0].device_kind)
    print(f"JAX {jax.__version__}, {jax.devices()[0].device_kind}, batch {options.batch}, {options.rounds} rounds")
    head = ("recurrence", 18), ("n", 6), ("ours ms", 10), ("hand ms", 10), ("ratio", 8), ("ours min to max", 20)
    head += ("ours MB", 10), ("hand MB", 10), ("ratio", 8), ("error", 10)
    print("".join(name.ljust(w) if w == 18 else name.rjust(w) for name, w in head))
    for name in options.recurrences:
        for n in options.units:
            print(compare(name, n, options.batch, options.steps, options.rounds, history), flush=True)


if __name__ == "__main__":
    main()
