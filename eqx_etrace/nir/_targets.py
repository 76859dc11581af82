"""What the readers of other packages can be told, by kind of layer and by its reset, and why no more."""

import dataclasses
from collections.abc import Callable

from ..nn import AbstractNeuron, CuBaLIF, Expon, IF, LeakyIntegrator, LIF
from ._network import Layer
from ._recipes import (
    euler_lif,
    NoRecipeError,
    norse_current,
    norse_if,
    Numbers,
    rockpool_current,
    sinabs_leak,
    sinabs_lif,
    snntorch_current,
    snntorch_lif,
    spyx_current,
    spyx_if,
    spyx_lif,
    STEP,
    Written,
)
from ._refusals import a

Recipe = Callable[[Numbers], Written]


@dataclasses.dataclass(frozen=True)
class Target:
    """A package: how it is asked to read, and what it can be told."""

    read: str
    """The call, for a `graph`, up to its last bracket."""
    version: str
    recipes: dict[tuple[type, str], Recipe]
    """By kind of layer, and by its reset."""
    recurrent: frozenset[tuple[type, str]] = frozenset()
    """Of these, the ones that may hear themselves."""
    why_not: dict[str, str] = dataclasses.field(default_factory=dict)
    """By kind of layer and reset, or by one of them, why there is no recipe."""
    told_how_to_reset: str = ""
    """What is added to the call where neurons subtract; nothing if nothing can be told."""
    then: str = ""
    """What is to be done with the `module` that was read, as Python; nothing if nothing is."""
    is_late: bool = False
    """Do its spikes come a step later, layer by layer?"""


_FOR_ALL = "for m in module.modules(): getattr(m, {!r}, None) is not None and setattr(m, {!r}, {})"
_ZERO = "its reader makes every reset one to zero"
_SUBTRACTS = "its reader makes every reset a subtraction"
_AFTER = "its reset comes before the next leak"
_NO_LEAKY = "its reader drops a leaky integrator without a word"

TARGETS = {
    "norse": Target(
        read=f"norse.torch.from_nir(graph, dt={STEP}",
        told_how_to_reset=", reset_method=norse.torch.functional.reset.reset_subtract",
        version="1.1.0",
        recipes={
            (LIF, "hard"): euler_lif,
            (LIF, "soft"): norse_current,
            (CuBaLIF, "hard"): norse_current,
            (CuBaLIF, "soft"): norse_current,
            (IF, "hard"): norse_if,
            (IF, "soft"): norse_current,
        },
        recurrent=frozenset(
            [(LIF, "hard"), (LIF, "soft"), (CuBaLIF, "hard"), (CuBaLIF, "soft"), (IF, "hard"), (IF, "soft")]
        ),
        why_not={"": _NO_LEAKY, "soft after": _AFTER, "hard after": _AFTER},
    ),
    "snntorch": Target(
        read="snntorch.import_nir.import_from_nir(graph",
        version="1.0.0",
        recipes={
            (LIF, "hard"): snntorch_lif,
            (CuBaLIF, "hard"): snntorch_current,
            (IF, "hard"): snntorch_lif,
        },
        why_not={
            "": "its reader knows no leaky integrator",
            "soft": _ZERO,
            "soft after": _ZERO,
            "hard after": _AFTER,
            "loop": "its reader leads the input of a recurrent layer into the recurrent weights",
        },
    ),
    "sinabs": Target(
        read="sinabs.from_nir(graph, batch_size=1",
        then=_FOR_ALL.format("spike_fn", "spike_fn", "sinabs.activation.SingleSpike"),
        version="3.1.3",
        recipes={
            (LIF, "soft"): sinabs_lif,
            (IF, "soft"): sinabs_lif,
            (Expon, ""): sinabs_leak,
            (LeakyIntegrator, ""): sinabs_leak,
        },
        why_not={
            "hard": _SUBTRACTS,
            "hard after": _SUBTRACTS,
            "soft after": _AFTER,
            "CuBaLIF": "its reader drops a neuron with a synaptic current without a word",
            "loop": "its reader gives other spikes for a layer that hears itself",
        },
    ),
    "rockpool": Target(
        read="rockpool.nn.modules.torch.nir.from_nir(graph",
        then=_FOR_ALL.format("threshold", "max_spikes_per_dt", "torch.tensor(1.0)"),
        version="3.1.0",
        recipes={(CuBaLIF, "soft"): rockpool_current},
        why_not={
            "": "its reader rounds the time constant of a leaky integrator to whole seconds",
            "hard": _SUBTRACTS,
            "hard after": _SUBTRACTS,
            "soft after": _AFTER,
            "LIF": "its reader fails on every neuron without a synaptic current",
            "IF": "its reader fails on every neuron without a synaptic current",
            "loop": "its reader gives other spikes for a layer that hears itself",
        },
    ),
    "spyx": Target(
        read="spyx.nir.from_nir(graph, x, dt=1",
        version="1.0.0",
        recipes={(LIF, "soft after"): spyx_lif, (CuBaLIF, "soft"): spyx_current, (IF, "soft"): spyx_if},
        recurrent=frozenset([(LIF, "soft after"), (CuBaLIF, "soft")]),
        why_not={
            "": "its reader knows no leaky integrator without a threshold",
            "hard": _SUBTRACTS,
            "hard after": _SUBTRACTS,
            "LIF soft": "its reset does not leak. `LIF(leaky_reset=False)` can be written",
            "CuBaLIF soft after": "its reset leaks. `CuBaLIF(leaky_reset=True)` can be written",
            "loop": "its reader gives other spikes for this layer if it hears itself",
        },
        is_late=True,
    ),
}
NO_READER = {
    "lava": "lava-nc 0.10.0 reads no NIR. Its own `LIF` gives the same spikes a step later, for a `CuBaLIF` with a "
    "hard reset and no bias: du = 1 - exp(-dt / tau_syn), dv = 1 - exp(-dt / tau), vth = V_th, and weights times "
    "R (1 - exp(-dt / tau))"
}


def recipe_for(target: str, name: str, layer: Layer, numbers: Numbers, hears_itself: bool) -> Written:
    """What to write for a layer.

    **Raises** `NoRecipeError`, which says why, where nothing gives the same spikes.
    """
    known, kind = TARGETS[target], type(layer)
    case = (kind, numbers.kind)
    if case not in known.recipes:
        why = known.why_not
        keys = (f"{kind.__name__} {numbers.kind}", kind.__name__, numbers.kind)
        reason = next((why[key] for key in keys if key in why), "its reader has nothing of the kind")
        raise NoRecipeError(_refusal(target, name, layer, reason))
    if hears_itself and case not in known.recurrent:
        raise NoRecipeError(_refusal(target, name, layer, known.why_not["loop"]))
    return known.recipes[case](numbers)


def _refusal(target: str, name: str, layer: Layer, reason: str) -> str:
    reset = ""
    if isinstance(layer, AbstractNeuron):
        reset = f" with a {layer.reset} reset" + ("" if layer.leaky_reset else " after the leak")
    return (
        f"`{name}` is {a(layer)}{reset}, and {target} {TARGETS[target].version} cannot be made to give "
        f"its spikes: {reason}."
    )
