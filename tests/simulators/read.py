"""Run graphs by the package that is installed here: `python read.py PACKAGE FOLDER`.

For every `NAME.nir` in the folder, which holds `xs.npy` `[time, inputs]`, too: reads it as its metadata say, and writes
what comes out to `NAME.out.npy`, or why nothing does to `NAME.error`. In double precision, but for rockpool, whose
neurons keep single precision.
"""

import pathlib
import sys

import nir
import numpy as np


def doubled(module):
    """In double precision; spikes come as single."""
    import torch

    for part in module.modules():
        if isinstance(part, torch.nn.Linear):
            part.register_forward_pre_hook(lambda _, inputs: tuple(x.double() for x in inputs))
    return module.double()


def steps_of(module, xs):
    """What a torch module gives that takes `(x, state)`."""
    import torch

    module, state, out = doubled(module), None, []
    with torch.no_grad():
        for x in torch.as_tensor(xs):
            y, state = module(x[None], state)
            out.append(np.asarray(y[0]))
    return np.array(out)


def norse(graph, read, xs):
    import norse.torch  # noqa: F401

    return steps_of(eval(read, {"norse": sys.modules["norse"], "graph": graph}), xs)


def snntorch(graph, read, xs):
    import snntorch.import_nir  # noqa: F401

    return steps_of(eval(read, {"snntorch": sys.modules["snntorch"], "graph": graph}), xs)


def sinabs(graph, read, xs):
    import sinabs.activation
    import torch

    module = eval(read, {"sinabs": sinabs, "graph": graph})
    exec(then_of(graph), {"module": module, "sinabs": sinabs})
    module = doubled(module)
    with torch.no_grad():
        out = module(torch.as_tensor(xs))
    return np.asarray(out[0] if isinstance(out, tuple) else out)


def rockpool(graph, read, xs):
    import rockpool.nn.modules.torch.nir
    import torch

    module = eval(read, {"rockpool": rockpool, "graph": graph}).float()
    exec(then_of(graph), {"module": module, "torch": torch})
    with torch.no_grad():
        out = module(torch.as_tensor(xs, dtype=torch.float32)[None])
    return np.asarray(out[0] if isinstance(out, tuple) else out)[0]


def spyx(graph, read, xs):
    import jax

    jax.config.update("jax_enable_x64", True)
    import spyx.nir  # noqa: F401

    _, out = eval(read, {"spyx": sys.modules["spyx"], "graph": graph, "x": jax.numpy.asarray(xs)[:, None]})
    return np.asarray(out)[:, 0]


def text(value):
    return value.decode() if isinstance(value, bytes) else value


def then_of(graph):
    """What is to be done with the module."""
    return text(graph.metadata["then"])


def main(package, folder):
    folder = pathlib.Path(folder)
    xs = np.load(folder / "xs.npy")
    for path in sorted(folder.glob(f"{package}__*.nir")):
        graph = nir.read(path)
        read = text(graph.metadata["read"])
        try:
            out = globals()[package](graph, read, xs)
        except Exception as error:
            path.with_suffix(".error").write_text(f"{type(error).__name__}: {error}")
        else:
            np.save(path.with_suffix(".out.npy"), out.astype(np.float64))


main(*sys.argv[1:])
