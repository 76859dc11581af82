"""The type checks of the tests find what is of the wrong type or shape, in functions within functions, too."""

import jax.numpy as jnp
import jaxtyping
import pytest
from checked import checked
from jaxtyping import Array, Float, Int

from eqx_etrace._trace import _order


def make(annotation, result):
    """The `def` of one function, run anew each time, checked as the library's are."""

    @jaxtyping.jaxtyped(typechecker=checked)
    def inner(
        x: annotation,  # pyright: ignore[reportInvalidTypeForm]
        y: Float[Array, " n"],
    ) -> Float[Array, " n"]:
        return result

    return inner


def test_every_function_of_one_definition_is_checked():
    three, four = jnp.zeros(3), jnp.zeros(4)
    for result in (three, four):  # the second reads the checks of the first, but returns its own
        assert make(Float[Array, " n"], result)(result, result) is result
    for arguments, result in [((three, four), three), ((three, three), four), ((3.0, three), three)]:
        with pytest.raises(jaxtyping.TypeCheckError):
            make(Float[Array, " n"], result)(*arguments)


def test_other_annotations_are_other_checks():
    three, ints = jnp.zeros(3), jnp.zeros(3, int)
    make(Float[Array, "n"], three)(three, three)
    make(Int[Array, "n"], three)(ints, three)
    make(Float[Array, "m"], three)(jnp.zeros(4), three)
    with pytest.raises(jaxtyping.TypeCheckError):
        make(Float[Array, "n"], three)(jnp.zeros(4), three)
    with pytest.raises(jaxtyping.TypeCheckError):
        make(Int[Array, "n"], three)(three, three)


def test_the_library_is_checked():
    with pytest.raises(jaxtyping.TypeCheckError, match=r"_order\.after"):
        _order.after(3, jnp.zeros(3))  # pyright: ignore[reportArgumentType]
