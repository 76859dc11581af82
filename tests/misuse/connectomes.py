"""Tables of synapses."""

import jax.numpy as jnp
import numpy as np

from .case import accepted, wrong
from .network import etr

SYNAPSES = "tables of synapses"
IDS = np.asarray([720575940600000001, 720575940600000002])
ONE = np.asarray([0, 1])


@wrong(SYNAPSES, TypeError, found="float64[2]", why="18", do="int64")
def neurons_as_floats():
    return etr.connectome.from_pairs(IDS.astype(float), IDS)


@wrong(SYNAPSES, TypeError, found="`source` is an array of JAX", why="32 bits", do="NumPy")
def neurons_as_an_array_of_jax():
    return etr.connectome.from_pairs(jnp.asarray(ONE), jnp.asarray(ONE))


@wrong(SYNAPSES, ValueError, found="No connection is left of 2 rows", why="`least=3`", do="the most synapses")
def a_threshold_above_all():
    return etr.connectome.from_pairs(IDS, IDS[::-1], least=3)


@wrong(SYNAPSES, TypeError, found="'5'", do="integer")
def a_threshold_of_text():
    return etr.connectome.from_pairs(IDS, IDS[::-1], least="5")


@wrong(SYNAPSES, ValueError, found="has 720575940600000002", do="connectome.from_pairs")
def numbers_of_neurons_as_indices():
    return etr.nn.SparseProjection(IDS, IDS, jnp.ones(2), 2)


@wrong(SYNAPSES, ValueError, found="`source` 1, `target` 2", do="one entry per row")
def columns_of_different_lengths():
    return etr.connectome.from_pairs(IDS[:1], IDS)


@wrong(SYNAPSES, ValueError, found="'water'", do="acetylcholine")
def a_transmitter_that_is_none():
    return etr.connectome.from_pairs(IDS, IDS[::-1], transmitter=np.asarray(["ACH", "water"]))


@wrong(SYNAPSES, ValueError, found="720575940600000002", do="Leave such rows out")
def a_neuron_that_is_not_listed():
    return etr.connectome.from_pairs(IDS, IDS, ids=IDS[:1])


@wrong(SYNAPSES, ValueError, found="'brain.h5'", do="from_pairs")
def a_connectome_of_another_format():
    return etr.connectome.read("brain.h5")


@wrong(SYNAPSES, FileNotFoundError, found="brain.csv", do="No such file")
def a_connectome_that_is_not_there():
    return etr.connectome.read("brain.csv")


@wrong(SYNAPSES, ValueError, found="`source` int32[2], `target` int32[2], `weight` float32[3]", do="one source, target")
def a_weight_more_than_synapses():
    return etr.nn.SparseProjection(ONE, ONE, jnp.ones(3), 2)


@wrong(SYNAPSES, TypeError, found="int64[2, 1]", do="integers [synapses]")
def sources_with_an_axis_more():
    return etr.nn.SparseProjection(ONE[:, None], ONE, jnp.ones(2), 2)


@wrong(SYNAPSES, ValueError, found="`target` has 1", do="there are 1 outputs")
def a_target_that_is_no_output():
    return etr.nn.SparseProjection(ONE, ONE, jnp.ones(2), 2, 1)


@wrong(SYNAPSES, ValueError, found="float32[3]", do="[*batch, 2]")
def an_input_more_than_the_table_has():
    return etr.nn.SparseProjection(ONE, ONE, jnp.ones(2), 2)(jnp.ones(3))


@wrong(SYNAPSES, TypeError, found="int32[2]", do="floats")
def weights_of_synapses_as_integers():
    return etr.nn.SparseProjection(ONE, ONE, np.ones(2, int), 2)


@accepted(SYNAPSES)
def synapses_of_lists():
    return etr.nn.SparseProjection([0, 1], [0, 0], [2.0, 3.0], 2)(jnp.asarray([1.0, 1.0])), [5.0, 0.0]
