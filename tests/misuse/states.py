"""The state of another layer."""

import jax
import jax.numpy as jnp

from .case import accepted, wrong
from .network import etr, F, LABELS, N, SPIKING, spiking, X

KIND = "state of another layer"
nn = etr.nn
CURRENT = jnp.ones(N)


@wrong(KIND, TypeError, found="`ALIFState`", do="`init_state`", why="`NeuronState`")
def a_LIF_with_the_state_of_an_ALIF():
    return nn.LIF()(CURRENT, nn.ALIF().init_state(N))


@wrong(KIND, TypeError, found="`CuBaLIFState`", do="`init_state`", why="`NeuronState`")
def an_IF_with_the_state_of_a_CuBaLIF():
    return nn.IF()(CURRENT, nn.CuBaLIF().init_state(N))


@wrong(KIND, TypeError, found="`NeuronState`", do="`init_state`", why="`ALIFState`")
def an_ALIF_with_the_state_of_a_LIF():
    return nn.ALIF()(CURRENT, nn.LIF().init_state(N))


@wrong(KIND, TypeError, found="`GIFState`", do="`init_state`", why="`CuBaLIFState`")
def a_CuBaLIF_with_the_state_of_a_GIF():
    return nn.CuBaLIF()(CURRENT, nn.GIF().init_state(N))


@wrong(KIND, TypeError, found="`CuBaLIFState`", do="`init_state`", why="`GIFState`")
def a_GIF_with_the_state_of_a_CuBaLIF():
    return nn.GIF()(CURRENT, nn.CuBaLIF().init_state(N))


@wrong(KIND, TypeError, found="`RefractoryState`", do="`init_state`", why="`NeuronState`")
def a_neuron_with_the_state_of_the_refractory_one():
    return nn.LIF()(CURRENT, nn.Refractory(nn.LIF(), 3.0).init_state(N))


@wrong(KIND, TypeError, found="`NeuronState`", do="`init_state`", why="`RefractoryState`")
def a_refractory_neuron_with_the_state_of_its_neuron():
    return nn.Refractory(nn.LIF(), 3.0)(CURRENT, nn.LIF().init_state(N))


@wrong(KIND, TypeError, found="`ALIFState`", do="`init_state`", why="`NeuronState`")
def a_refractory_LIF_with_the_state_of_a_refractory_ALIF():
    return nn.Refractory(nn.LIF(), 3.0)(CURRENT, nn.Refractory(nn.ALIF(), 3.0).init_state(N))


@wrong(KIND, TypeError, found="`NeuronState`", do="`init_state`", why="`SynapseState`")
def a_synapse_with_the_state_of_a_neuron():
    return nn.Expon()(CURRENT, nn.LIF().init_state(N))


@wrong(KIND, TypeError, found="`AlphaState`", do="`init_state`", why="`SynapseState`")
def an_Expon_with_the_state_of_an_Alpha():
    return nn.Expon()(CURRENT, nn.Alpha().init_state(N))


@wrong(KIND, TypeError, found="`SynapseState`", do="`init_state`", why="`AlphaState`")
def an_Alpha_with_the_state_of_an_Expon():
    return nn.Alpha()(CURRENT, nn.Expon().init_state(N))


@wrong(KIND, TypeError, found="`AlphaState`", do="`init_state`", why="`DoubleExponentialState`")
def a_DoubleExponential_with_the_state_of_an_Alpha():
    return nn.DoubleExponential()(CURRENT, nn.Alpha().init_state(N))


@wrong(KIND, TypeError, found="`DelayState`", do="`init_state`", why="`ShortTermPlasticityState`")
def short_term_plasticity_with_the_state_of_a_delay():
    return nn.ShortTermPlasticity()(CURRENT, nn.Delay(2).init_state(N))


@wrong(KIND, TypeError, found="`ShortTermPlasticityState`", do="`init_state`", why="`DelayState`")
def a_delay_with_the_state_of_short_term_plasticity():
    return nn.Delay(2)(CURRENT, nn.ShortTermPlasticity().init_state(N))


@wrong(KIND, TypeError, found="`NeuronState`", do="`init_state`", why="`IntegratorState`")
def a_leaky_integrator_with_the_state_of_a_LIF():
    return nn.LeakyIntegrator()(CURRENT, nn.LIF().init_state(N))


@wrong(KIND, TypeError, found="`SpikingReadoutState`", do="`init_state`", why="`ReadoutState`")
def a_leaky_readout_with_the_state_of_a_spiking_one():
    key = jax.random.key(0)
    return nn.LeakyRateReadout(N, 2, key=key)(CURRENT, nn.SpikingReadout(N, 2, key=key).init_state())


@wrong(KIND, TypeError, found="`ReadoutState`", do="`init_state`", why="`SpikingReadoutState`")
def a_spiking_readout_with_the_state_of_a_leaky_one():
    key = jax.random.key(0)
    return nn.SpikingReadout(N, 2, key=key)(CURRENT, nn.LeakyRateReadout(N, 2, key=key).init_state())


@wrong(KIND, TypeError, found="[3]", do="`init_state`", why="`NeuronState`")
def a_LIF_with_an_array():
    return nn.LIF()(CURRENT, jnp.zeros(N))


@wrong(KIND, TypeError, found="is None", do="`init_state`", why="`NeuronState`")
def a_LIF_without_a_state():
    return nn.LIF()(CURRENT, None)


@wrong(KIND, TypeError, found="`NeuronState`", do="`(input, state)`")
def state_and_current_the_wrong_way_round():
    return nn.LIF()(nn.LIF().init_state(N), CURRENT)


@wrong(KIND, TypeError, found="`SynapseState`", do="`(input, state)`")
def state_and_input_of_a_synapse_the_wrong_way_round():
    return nn.Expon()(nn.Expon().init_state(N), CURRENT)


@wrong(KIND, TypeError, found="[3]", do="`init_state`", why="`RTUState`")
def an_RTU_with_an_array():
    cell = nn.RTUCell(F, N, key=jax.random.key(0))
    return cell(X, jnp.zeros(N))


@wrong(KIND, TypeError, found="`RTUState`", do="`init_state`", why="`MLSTMState`")
def an_MLSTM_with_the_state_of_an_RTU():
    key = jax.random.key(0)
    return nn.MLSTMCell(F, N, N, key=key)(X, nn.RTUCell(F, N, key=key).init_state())


@wrong(KIND, TypeError, found="`RTUState`", do="`init_state`")
def a_vanilla_cell_with_the_state_of_an_RTU():
    key = jax.random.key(0)
    return nn.RNNCell(F, N, key=key)(X, nn.RTUCell(F, N, key=key).init_state())


@wrong(KIND, TypeError, found="float32", do="`init_state`", why="complex")
def an_LRU_with_a_real_state():
    return nn.LRUCell(F, N, 2, key=jax.random.key(0))(X, jnp.zeros(N))


@wrong(KIND, ValueError, found="[4]", do="`init_state", why="3")
def a_cell_with_the_state_of_a_larger_one():
    key = jax.random.key(0)
    return nn.MinGRUCell(F, N, key=key)(X, nn.MinGRUCell(F, N + 1, key=key).init_state())


@wrong(KIND, ValueError, found="[4]", do="`init_state(", why="[3]")
def a_neuron_with_the_state_of_a_larger_layer():
    return nn.LIF()(CURRENT, nn.LIF().init_state(N + 1))


@wrong(KIND, ValueError, found="[4]", do="`init_state(", why="[3]")
def a_synapse_with_the_state_of_a_larger_layer():
    return nn.Alpha()(CURRENT, nn.Alpha().init_state(N + 1))


@wrong(KIND, ValueError, found="[4]", do="`init_state(", why="[3]")
def plasticity_with_the_state_of_a_larger_layer():
    return nn.ShortTermPlasticity()(CURRENT, nn.ShortTermPlasticity().init_state(N + 1))


@wrong(KIND, ValueError, found="[2, 3]", do="`init_state", why="[4, 3]")
def a_delay_with_the_line_of_a_shorter_one():
    return nn.Delay(4)(CURRENT, nn.Delay(2).init_state(N))


@wrong(KIND, TypeError, found="`ReadoutState`", do="`init_state`", why="`NeuronState`", where="`spiking_step`")
def the_states_of_two_layers_swapped():
    model, (neuron, readout), trace = spiking()
    return SPIKING(model, (readout, neuron), trace, X, LABELS[0])


@wrong(KIND, TypeError, found="the class `IF`", do="`IF()`")
def a_readout_of_a_class_of_neurons():
    return nn.SpikingReadout(N, 2, neuron=nn.IF, key=jax.random.key(0))


@accepted(KIND)
def an_IF_with_the_state_of_a_LIF():
    """The same kind of state, with the same meaning."""
    _, state = nn.IF()(0.1 * CURRENT, nn.LIF().init_state(N))
    return state.V, 0.1 * jnp.ones(N)
