"""The only reads of JAX's version-dependent parts.

Everything else in the package sees equations through the functions of this page. Primitives are
looked up as *objects*, never matched by name: a name that a JAX version lacks is simply absent from
the tables, and an equation whose primitive is in no table is treated as mixing and reported.
"""

import functools
import inspect
from collections.abc import Iterable, Sequence
from typing import Any

import equinox
import jax
import jax.lax as lax
import jax.numpy as jnp
from jax.extend import core as _core
from jax.extend.core import primitives as _primitives
from jax.extend.source_info_util import user_context as _user_context

Literal = _core.Literal
Primitive = _core.Primitive
Staged = Any
"""What `jax.make_jaxpr` gives: a closed jaxpr, which from JAX 0.11 on has the type of an open one."""


def primitives(names: str) -> list[Primitive]:
    """The primitives of these names (without `_p`) that this JAX has, as objects."""
    named = [getattr(_primitives, f"{name}_p", getattr(lax, f"{name}_p", None)) for name in names.split()]
    return [primitive for primitive in named if primitive is not None]


INLINED = frozenset(primitives("jit remat closed_call call"))
CUSTOM_TANGENTS = frozenset(primitives("custom_jvp_call"))
CUSTOM_RULES = CUSTOM_TANGENTS | frozenset(primitives("custom_vjp_call"))
_OWN = frozenset(
    value
    for module in (_primitives, lax, lax.linalg)
    for value in vars(module).values()
    if isinstance(value, Primitive) and value.name not in ("custom_linear_solve", "custom_lin")
)
"""JAX's own, of which it pulls cotangents back by a linear map; so of loops and calls, but for what they run."""
_OTHERS = (
    "add_dependency bcoo_dot_general bcoo_dot_general_sampled bcoo_extract bcoo_fromdense bcoo_spdot_general "
    "bcoo_todense bcoo_transpose bcsr_dot_general bcsr_extract bcsr_fromdense bcsr_todense coo_fromdense coo_matmat "
    "coo_matvec coo_todense csr_fromdense csr_matmat csr_matvec csr_todense layout_constraint pbroadcast "
    "psum_invariant pvary ragged_dot_general reduce_scatter reshard shard_map spsolve"
)
"""Others of JAX's own, by name: they are in no public namespace."""


def body(params: dict[str, Any]) -> tuple[Any, Sequence[Any]]:
    """The jaxpr that a call-like equation runs, and the values of its constvars.

    `jit` holds a `ClosedJaxpr` under `jaxpr`, `remat` an open `Jaxpr`, `closed_call` a `ClosedJaxpr`
    under `call_jaxpr`; from JAX 0.11 on the closed kind *is* the open one.
    """
    return opened(params["jaxpr"] if "jaxpr" in params else params["call_jaxpr"])


def opened(held: Any) -> tuple[Any, Sequence[Any]]:
    """A closed or open jaxpr as (jaxpr, values of its constvars)."""
    return getattr(held, "jaxpr", held), getattr(held, "consts", ())


def bind(eqn: Any, operands: Iterable[Any]) -> list[Any]:
    """Run one equation on new operands, custom derivative rules and all; what comes of it knows the user's line."""
    params = eqn.primitive.get_bind_params(eqn.params)
    with eqn.ctx.manager, _user_context(getattr(eqn.source_info, "traceback", None)):
        out = eqn.primitive.bind(*operands, **params)
    return list(out) if eqn.primitive.multiple_results else [out]


def is_key(value: Any) -> bool:
    """Is it a typed PRNG key, which has no NumPy array?"""
    return hasattr(value, "dtype") and bool(jnp.issubdtype(value.dtype, jax.dtypes.prng_key))


def as_jax(value: Any) -> Any:
    """A constant array of NumPy's as one of JAX's, as rules expect it; a scalar stays, with its weak type."""
    if isinstance(value, jax.Array) or not hasattr(value, "__array__") or value.ndim == 0:
        return value
    with jax.ensure_compile_time_eval():
        return jnp.asarray(value)


def is_reference(aval: Any) -> bool:
    """Is it the type of a mutable array?"""
    return hasattr(aval, "inner_aval")


def is_inexact_reference(aval: Any) -> bool:
    """Is it that of a mutable array of inexact numbers?"""
    return is_reference(aval) and bool(jnp.issubdtype(aval.inner_aval.dtype, jnp.inexact))


def written_out(eqn: Any) -> Staged | None:
    """What an equation computes, if its primitive is a function of JAX's others (as Equinox's are); else None."""
    operands = [jax.ShapeDtypeStruct(v.aval.shape, v.aval.dtype) for v in eqn.invars if hasattr(v.aval, "dtype")]
    try:
        staged = jax.make_jaxpr(functools.partial(eqn.primitive.impl, **eqn.params))(*operands)
    except Exception:  # whatever a stranger's function does with what it is not meant for
        return None
    return None if _runs(opened(staged)[0], eqn.primitive) else staged


def _runs(jaxpr: Any, primitive: Primitive) -> bool:
    """Does a jaxpr run this primitive, itself or inside?"""
    inside = any(_runs(inner, primitive) for inner in _inside(jaxpr))
    return inside or any(eqn.primitive is primitive for eqn in jaxpr.eqns)


def _inside(jaxpr: Any) -> list[Any]:
    """What its equations run."""
    return [opened(held)[0] for eqn in jaxpr.eqns for held in inner_jaxprs(eqn)]


def scan_sizes(params: dict[str, Any]) -> tuple[int, int]:
    """How many constants and carried values a `scan` takes; JAX 0.11 keeps them as a tree."""
    if "num_consts" in params:
        return params["num_consts"], params["num_carry"]
    constants, carried, _ = (len(list(part)) for part in params["ft_in"].unpack())
    return constants, carried


def is_scan(eqn: Any) -> bool:
    """Is it a `scan`?"""
    return eqn.primitive in _SCAN


def count_equations(held: Any) -> int:
    """How many equations a jaxpr has when all that it runs is written out; of loops, every round."""
    return sum(_count(eqn) for eqn in opened(held)[0].eqns)


def _count(eqn: Any) -> int:
    rounds = eqn.params["length"] if eqn.primitive in _SCAN else 1
    return max(1, rounds * sum(map(count_equations, inner_jaxprs(eqn))))


_SCAN = frozenset(primitives("scan"))
_WHILE = frozenset(primitives("while"))
_CONTROL_FLOW = frozenset(primitives("scan cond")) | _WHILE


def inner_jaxprs(eqn: Any) -> list[Any]:
    """What an equation runs: the body of a loop, the branches of a conditional, the matrix of a linear solve."""
    params = eqn.params.values()
    held = [item for value in params for item in (value if isinstance(value, tuple | list) else (value,))]
    return [item for item in held if hasattr(item, "eqns")]


def may_have_a_rule(eqn: Any) -> bool:
    """May pulling a cotangent back through it be anything at all?

    A solve and a `linear_call` have a transpose of the user's, a stranger's primitive a rule, and what a `custom_vjp`
    leaves in a tangent has that of its backward pass.
    """
    return eqn.primitive not in _OWN and eqn.primitive.name not in _OTHERS.split()


def holds_a_rule(jaxpr: Any) -> bool:
    """Is there such an equation in it, or inside one?"""
    return any(map(may_have_a_rule, jaxpr.eqns)) or any(map(holds_a_rule, _inside(jaxpr)))


def is_solve(eqn: Any) -> bool:
    """JAX's linear solve, or lineax's?"""
    return eqn.primitive.name in ("custom_linear_solve", "linear_solve")


def solver(params: dict[str, Any]) -> tuple[Any, slice, int]:
    """The function that a linear solve runs, which operands are its constants, and the first right-hand side."""
    lengths = params["const_lengths"]
    start = lengths.matvec + lengths.vecmat
    return params["jaxprs"].solve, slice(start, start + lengths.solve), sum(lengths)


def is_callback_that_raises(eqn: Any) -> bool:
    """Is it that of `eqx.error_if`? That module has no other."""
    called = eqn.params.get("callback")
    function = getattr(called, "callback_func", called)
    return function is not None and inspect.getmodule(function) is inspect.getmodule(equinox.error_if)


def is_collective(eqn: Any) -> bool:
    """Does it reach over a named axis, such as that of a `jax.vmap` around the step?"""
    names = [eqn.params.get("axis_name", ()), eqn.params.get("axes", ())]
    named = [name for some in names for name in (some if isinstance(some, tuple | list) else (some,))]
    return any(name is not None and not hasattr(name, "__index__") for name in named)


def has_while(eqn: Any) -> bool:
    """Is it a `while` loop, or holds one?"""
    if eqn.primitive not in _CONTROL_FLOW | INLINED:
        return False
    inside = (inner for held in inner_jaxprs(eqn) for inner in held.eqns)
    return eqn.primitive in _WHILE or any(map(has_while, inside))
