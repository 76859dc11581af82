"""Hodgkin-Huxley compartments of jaxley, alone and in a line: a conductance in each is a parameter."""

import jax
import jax.numpy as jnp
import jaxley as jx
from check import INPUTS, LANES, row, UNITS
from jaxley.channels import HH
from jaxley.integrate import build_init_and_step_fn


def steps(name: str, module: jx.Module, solver: str = "bwd_euler") -> None:
    module.insert(HH())
    module.comp("all").stimulate(jnp.zeros(1), verbose=False)
    module.comp("all").make_trainable("HH_gNa", verbose=False)
    module.to_jax()
    begin, advance = build_init_and_step_fn(module, solver=solver)

    def cell(model, state, x):
        constants, current = begin(model["conductance"], state)[1], {"i": x @ model["weight"]}
        state = advance(state, constants, current, module.external_inds, delta_t=0.025)
        return state["v"] / 50, state

    model = {"conductance": module.get_parameters(), "weight": jax.random.normal(jax.random.key(0), (INPUTS, UNITS))}
    start = jax.tree.map(lambda a: jnp.stack([a] * LANES), begin(model["conductance"])[0])
    row("jaxley", name, jax.vmap(cell, (None, 0, 0)), model, start)


alone = jx.Cell(jx.Branch(jx.Compartment(), ncomp=1), parents=[-1])
steps(f"{UNITS} compartments", jx.Network([alone] * UNITS))
for solver in ("bwd_euler", "fwd_euler"):
    steps(f"a line of {UNITS}, {solver}", jx.Branch(jx.Compartment(), ncomp=UNITS), solver)
