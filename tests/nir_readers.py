"""How other packages run a graph of NIR, in plain NumPy: chains of layers, each with its weights and perhaps a loop.

Written after the sources of norse 1.1.0, snnTorch 1.0.0, sinabs 3.1.3, rockpool 3.1.0 and spyx 1.0.0. That these
packages do what is written here is shown by running them (`tests/simulators`).
"""

import nir
import numpy as np


def chain(graph):
    """[(affine or None, node, affine of its loop or None)], in order, and the affine before the output."""
    here, affine, layers = "input", None, []
    while True:
        follow = [b for a, b in graph.edges if a == here and not _is_loop(graph, here, b)]
        (name,) = follow
        node = graph.nodes[name]
        if isinstance(node, nir.Output):
            return layers, affine
        if isinstance(node, nir.Affine):
            affine = node
        else:
            loop = [graph.nodes[b] for a, b in graph.edges if a == name and _is_loop(graph, name, b)]
            layers.append((affine, node, loop[0] if loop else None))
            affine = None
        here = name


def _is_loop(graph, name, affine):
    return (affine, name) in graph.edges


def run(reader, graph, xs):
    """What comes out, `[time, outputs]`."""
    layers, last = chain(graph)
    cells = [reader(node) for _, node, _ in layers]
    states = [cell.begin(int(node.output_type["output"][0])) for cell, (_, node, _) in zip(cells, layers, strict=True)]
    spikes = [np.zeros(int(node.output_type["output"][0])) for _, node, _ in layers]
    out = []
    for x in xs:
        for i, (affine, _, loop) in enumerate(layers):
            x = x if affine is None else affine.weight @ x + affine.bias
            own = spikes[i] if not cells[i].hears_at_once else cells[i].now(states[i])
            x = x if loop is None else x + loop.weight @ own + loop.bias
            x, states[i] = cells[i].step(x, states[i])
            spikes[i] = x
        out.append(x if last is None else last.weight @ x + last.bias)
    return np.array(out)


class Cell:
    hears_at_once = False

    def __init__(self, node):
        self.node = node

    def begin(self, size):
        return np.zeros(size), np.zeros(size)

    def now(self, state):
        raise NotImplementedError


def fall(v, z, th, soft):
    return v - z * th if soft else np.where(z > 0, 0.0, v)


def norse(soft, dt=1e-4):
    class Norse(Cell):
        def step(self, x, state):
            n, (v, i) = self.node, state
            if isinstance(n, nir.IF):
                v = v + x
                z = (v > n.v_threshold) * 1.0
                return z, (fall(v, z, n.v_threshold, False), i)
            is_soft = soft
            if isinstance(n, nir.CubaLIF):
                i = i + dt / n.tau_syn * (n.v_leak - i + n.w_in * x)
                x, tau = n.r * i, n.tau_mem
            else:
                tau, is_soft = n.tau, False
            v = v + dt / tau * (n.v_leak - v + x)
            z = (v > n.v_threshold) * 1.0
            return z, (fall(v, z, n.v_threshold, is_soft), i)

    return Norse


class SnnTorch(Cell):
    def step(self, x, state):
        n, (v, i), dt = self.node, state, 1e-4
        if isinstance(n, nir.CubaLIF):
            assert np.allclose(n.r, n.tau_mem / dt)
            i = (1 - dt / n.tau_syn) * i + x
            x, tau, scale = i, n.tau_mem, n.w_in * dt / n.tau_syn
        else:
            tau, scale = n.tau, n.r * dt / n.tau
        th = n.v_threshold if np.allclose(scale, 1) else n.v_threshold / scale
        assert np.unique(th).size == 1
        v = (1 - dt / tau) * v + x
        z = (v > th) * 1.0
        return z, (fall(v, z, th, False), i)


class Sinabs(Cell):
    def step(self, x, state):
        n, (v, i) = self.node, state
        v = np.exp(-1 / n.tau) * v + x
        if isinstance(n, nir.LI):
            assert (n.r == 1).all() and (n.v_leak == 0).all()
            return v, (v, i)
        z = (v >= n.v_threshold) * 1.0
        return z, (v - z * n.v_threshold, i)


class Rockpool(Cell):
    def step(self, x, state):
        n, (v, i) = self.node, state
        dt = np.min(n.tau_mem / (1 + n.r))
        i = np.exp(-dt / n.tau_syn) * (i + x)
        v = np.exp(-dt / n.tau_mem) * v + i + n.v_leak
        z = (v >= n.v_threshold) * 1.0
        return z, (v - z * n.v_threshold, i)


class Spyx(Cell):
    hears_at_once = True

    def now(self, state):
        return (state[0] > self.node.v_threshold) * 1.0

    def step(self, x, state):
        n, (v, i) = self.node, state
        z = self.now(state)
        if isinstance(n, nir.CubaLIF):
            i = (1 - 1 / n.tau_syn) * i + x
            return z, ((1 - 1 / n.tau_mem) * (v - z * n.v_threshold) + i, i)
        kept = 1.0 if isinstance(n, nir.IF) else 1 - 1 / n.tau
        return z, (kept * v + x - z * n.v_threshold, i)
