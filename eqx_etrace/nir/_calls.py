"""Layers at work: what a step calls, told apart from what it computes by itself.

While a step is staged, each call of a layer of `nn` is written into the program as one equation, whatever is inside.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import numpy as np

from .._read import Equation, Program
from .._watched import watching
from ..nn import LeakyRateReadout, SpikingReadout

_MARK = 0x1A7E5
"""An operand of such an equation is this and the number of the call: names of functions do not survive."""


_KNOWN: list["Call"] = []
"""All that were ever written, by number: JAX may keep a function that was staged, and give it again."""


@dataclasses.dataclass
class Call:
    """One call of a method of a layer. `arguments` are the layer itself and what it was given."""

    method: Callable[..., Any]
    treedef: Any
    static: Any
    layer: Any
    """Without its arrays."""
    path: tuple[str, ...]
    """Where in the model it is; nothing if it is made elsewhere."""
    sizes: list[int]
    """How many arrays each argument has."""
    shapes: list[tuple[int, ...]]
    """Of these arrays."""

    @property
    def is_step(self) -> bool:
        """Is it a step of the layer? Else it reads the spikes of a state."""
        return self.method.__name__ == "__call__"

    def is_of_same_layer(self, other: "Call") -> bool:
        """Are both made by a layer of this structure, with these constants?"""
        return bool(eqx.tree_equal(self.static[0], other.static[0]))

    def layer_of(self, leaves: list[Any]) -> Any:
        """The layer, with these arrays."""
        return eqx.combine(jax.tree.unflatten(self.treedef.children()[0], leaves), self.static[0])


class Calls:
    """To be the watcher of the layers of one step."""

    def __init__(self) -> None:
        self.paths: dict[int, tuple[str, ...]] = {}
        """Of the modules of the model, by identity."""
        self._around: tuple[str, ...] = ()

    def __call__(self, method: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
        path = self.paths.get(id(arguments[0]), self._around)
        if isinstance(arguments[0], LeakyRateReadout | SpikingReadout):
            return self._inside(path, method, arguments)
        return self._written(path, method, arguments)

    def _inside(self, path: tuple[str, ...], method: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
        """A layer that is made of layers: these are watched, and have its name."""
        before, self._around = self._around, path
        with watching(self):
            out = method(*arguments)
        self._around = before
        return out

    def _written(self, path: tuple[str, ...], method: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
        arrays, static = eqx.partition(arguments, eqx.is_array)
        leaves, treedef = jax.tree.flatten(arrays)
        returned: list[Any] = []

        def run(mark: Any, *leaves: Any) -> list[Any]:
            del mark
            out = method(*eqx.combine(jax.tree.unflatten(treedef, leaves), static))
            flat, outer = jax.tree.flatten(out)
            returned[:] = [outer]
            return flat

        sizes = [len(jax.tree.leaves(one)) for one in arrays]
        mark = np.array([_MARK, len(_KNOWN)], np.uint32)
        shapes = [leaf.shape for leaf in leaves]
        _KNOWN.append(Call(method, treedef, static, static[0], path, sizes, shapes))
        marked = jax.custom_jvp(run)
        marked.defjvp(lambda at, along: jax.jvp(run, at, along))
        out = marked(mark, *leaves)
        return jax.tree.unflatten(returned[0], out)

    @staticmethod
    def of(program: Program, eqn: Equation) -> tuple[Call, tuple[int, ...]] | None:
        """The call that an equation stands for, if it stands for one, and its operands.

        What a method closes over stands in front of the number.
        """
        for at, var in enumerate(eqn.inputs if eqn.is_custom else ()):
            value = program.constants.get(var)
            if value is not None and value.shape == (2,) and value.dtype == np.uint32 and value[0] == _MARK:
                return _KNOWN[int(value[1])], eqn.inputs[at + 1 :]
        return None
