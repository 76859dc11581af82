"""Recordings, encoders, losses, pullbacks, probes, pictures, graphs."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from .case import accepted, wrong
from .network import etr, H, loss_step, N, ONLINE, trace, weights, X, XS

EVENTS, TOOLS, PULL = "recordings and encoders", "losses, probes, pictures, graphs", "pullbacks and scores"
SECONDS = np.array([0.0, 0.15, 0.25, 0.95])
CHANNELS = np.array([0, 1, 2, 3])


def binned(t: Any = SECONDS, channel: Any = CHANNELS, **how: Any) -> Any:
    return etr.events.bin_events(t, channel, **{"dt": 1000, "steps": 10, "channels": 4, **how})


@wrong(EVENTS, ValueError, found="0.95", do="1e6", why="first step")
def times_in_seconds():
    return binned()


@wrong(EVENTS, ValueError, found="950000", do="in the unit of `t`", why="10")
def a_step_in_milliseconds_for_microseconds():
    return binned(1_000_000 * SECONDS, dt=1)


@wrong(EVENTS, TypeError, found="saiunit", do="without a unit")
def a_step_with_a_unit():
    import saiunit as u

    return binned(dt=1.0 * u.ms)


@wrong(EVENTS, TypeError, found="'1ms'", do="number")
def a_step_that_is_a_string():
    return binned(dt="1ms")


@wrong(EVENTS, TypeError, found="None", do="number")
def no_step():
    return binned(dt=None)


@wrong(EVENTS, TypeError, found="saiunit", do="without a unit")
def times_with_a_unit():
    import saiunit as u

    return binned(SECONDS * u.second)


@wrong(EVENTS, TypeError, found="'now'", do="number")
def a_start_that_is_a_string():
    return binned(start="now")


@wrong(EVENTS, ValueError, found="2 columns", do="(y, x)")
def a_camera_as_a_line():
    return binned(1e6 * SECONDS, (CHANNELS, CHANNELS))


@wrong(EVENTS, TypeError, found="float64", do="integers")
def channels_that_are_floats():
    return binned(1e3 * SECONDS, CHANNELS + 0.0)


@wrong(EVENTS, ValueError, found="3", do="0 to 2")
def more_channels_than_the_sensor_has():
    return binned(1e3 * SECONDS, channels=3)


@wrong(EVENTS, TypeError, found="'rec.h5'", do="h5py.File(path)")
def a_path_in_place_of_a_file():
    return etr.events.from_hdf5("rec.h5", 0)


@wrong(EVENTS, TypeError, found="no fields", do="bin_events")
def plain_columns_as_a_recording():
    return etr.events.from_structured(np.ones((4, 3)))


@wrong(EVENTS, ValueError, found="255", do="Scale it")
def rates_that_are_no_probabilities():
    return etr.encode.rate(jax.random.key(0), jnp.full(N, 255.0), 4)


@wrong(EVENTS, TypeError, found="key", do="`(key, x, steps)`")
def values_and_key_swapped():
    return etr.encode.rate(jnp.ones(N), jax.random.key(0), 4)


@wrong(EVENTS, ValueError, found="10.0", do="integer")
def parts_of_steps():
    return etr.encode.latency(jnp.ones(N), 10.0)


@wrong(EVENTS, TypeError, found="'20'", do="number")
def a_latency_of_a_string():
    return etr.encode.latency(jnp.ones(N), 10, tau="20")


@wrong(EVENTS, ValueError, found="2", do="at least 3")
def a_population_of_two():
    return etr.encode.population(jnp.ones(N), 2)


@wrong(EVENTS, TypeError, found="list", do="jnp.asarray")
def a_list_of_values_to_encode():
    return etr.encode.rate(jax.random.key(0), [0.1, 0.2], 4)


@wrong(EVENTS, TypeError, found="list", do="jnp.asarray")
def a_list_of_values_for_a_latency():
    return etr.encode.latency([0.1, 0.2], 4)


@accepted(EVENTS)
def seconds_and_a_step_in_seconds():
    return binned(dt=0.1).sum(1), [1, 1, 1, 0, 0, 0, 0, 0, 0, 1]


def pulled(*cotangents):
    def step(m, s, x):
        _, h = loss_step(m, s["h"], x)
        return {"loss": jnp.sum(h), "rates": {"a": h, "b": 2 * h}}, {"h": h}

    vjp = etr.etrace_vjp(step, etr.DRTRL())
    _, _, _, pullback = vjp(weights(), {"h": H}, vjp.init(weights(), {"h": H}, X), X)
    return pullback(*cotangents)


@accepted(PULL)
def a_cotangent_of_None_for_a_whole_subtree():
    short = pulled({"loss": jnp.ones(()), "rates": None})[0]["W"]
    return short, pulled({"loss": jnp.ones(()), "rates": {"a": jnp.zeros(N), "b": jnp.zeros(N)}})[0]["W"]


@accepted(PULL)
def a_cotangent_of_None_for_the_output():
    return pulled(None, {"h": jnp.ones(N)})[0]["W"], pulled({"loss": jnp.ones(()), "rates": None})[0]["W"]


@wrong(PULL, ValueError, found="'rate'", do="'rates'")
def a_cotangent_with_a_wrong_name():
    return pulled({"loss": jnp.ones(()), "rate": None})


@wrong(PULL, ValueError, found="(4,)", do="(3,)")
def a_cotangent_of_another_size():
    return pulled(None, {"h": jnp.ones(N + 1)})


@wrong(PULL, TypeError, found="'one'", do="array")
def a_cotangent_that_is_a_string():
    return pulled({"loss": "one", "rates": None})


@wrong(PULL, TypeError, found="out", do="cotangent")
def a_pullback_without_a_cotangent():
    return pulled()


@wrong(PULL, ValueError, found="window", do="0 or 1")
def a_vjp_with_a_long_window():
    return etr.etrace_vjp(loss_step, etr.DRTRL(), window=8)


@wrong(PULL, ValueError, found="pullback", do="grads, _ = pullback")
def scores_of_both_halves_of_a_pullback():
    vjp = etr.etrace_vjp(loss_step, etr.DRTRL())
    _, _, _, pullback = vjp(weights(), H, vjp.init(weights(), H, X), X)
    return etr.Scores.of(weights()).after(pullback(jnp.ones(())), decay=0.9)


@wrong(PULL, TypeError, found="'one'", do="number")
def a_reward_that_is_a_string():
    return etr.Scores.of(weights()).times("one")


@wrong(PULL, ValueError, found="[4]", do="one per lane")
def rewards_of_lanes_that_there_are_not():
    return etr.Scores.of(weights()).times(jnp.ones(4))


@wrong(PULL, TypeError, found="2.0", do="integer")
def lanes_that_are_floats():
    return etr.Scores.of(weights(), lanes=2.0)


@wrong(TOOLS, ValueError, found="5", do="0 to 1")
def a_label_that_is_no_class():
    return etr.losses.cross_entropy(jnp.zeros((1, 2)), jnp.array([5]))


@wrong(TOOLS, TypeError, found="ArrayImpl", do="number")
def a_trained_time_constant_of_a_distance():
    return etr.losses.VanRossum(jnp.asarray(10.0))


@wrong(TOOLS, ValueError, found="[4]", do="init_state")
def a_target_of_another_size():
    return etr.losses.VanRossum(10.0)(jnp.ones(N), jnp.ones(N + 1), jnp.zeros(N))


@wrong(TOOLS, ValueError, found="[3]", do="[time, units]")
def a_raster_of_one_unit():
    return etr.plot.raster(np.ones(3))


@wrong(TOOLS, ValueError, found="0.5", do="ax.plot")
def a_raster_of_potentials():
    return etr.plot.raster(np.full((4, 3), 0.5))


@wrong(TOOLS, TypeError, found="'1 ms'", do="number")
def a_raster_with_a_string_for_its_step():
    return etr.plot.raster(np.ones((4, 3)), dt="1 ms")


@wrong(TOOLS, TypeError, found="float", do="`Fidelity`")
def a_picture_of_no_fidelities():
    return etr.plot.fidelity([0.5, 0.6])


@wrong(TOOLS, TypeError, found="DRTRL", do="report(")
def a_picture_of_rules_without_reports():
    return etr.plot.rules({"a": etr.DRTRL()})


@wrong(TOOLS, ValueError, found="'W'", do="('W',)")
def a_record_of_a_name():
    return etr.plot.record(ONLINE, weights(), H, trace(), XS, parameter="W", entries=[(0, 0)])


@wrong(TOOLS, ValueError, found="[9, 0]", do="[3, 2]")
def a_record_of_an_entry_that_is_none():
    return etr.plot.record(ONLINE, weights(), H, trace(), XS, parameter=("W",), entries=[(9, 0)])


@wrong(TOOLS, TypeError, found="pair", do="alone")
def a_probe_given_loss_and_gradients():
    probe = etr.FidelityProbe(ONLINE, 1)
    found, _, _ = ONLINE(weights(), H, trace(), X)
    return probe(weights(), H, probe.init(weights(), H, X), found, X)


@wrong(TOOLS, TypeError, found="OnlineLearner", do="etrace_value_and_grad")
def a_probe_of_a_learner():
    return etr.FidelityProbe(etr.OnlineLearner(ONLINE, optax.sgd(0.1)), 1)


@wrong(TOOLS, TypeError, found="function", do="compile_graph")
def a_choice_for_a_step():
    return etr.choose_rule(loss_step, memory=1000)


@wrong(TOOLS, TypeError, found="'1 MB'", do="number of bytes")
def a_memory_that_is_a_string():
    return etr.choose_rule(etr.compile_graph(loss_step, weights(), H, X), memory="1 MB")


@wrong(TOOLS, ValueError, found="'graph.jpg'", do=".svg, .png")
def a_drawing_as_a_jpg():
    return etr.compile_graph(loss_step, weights(), H, X).draw().save("graph.jpg")


@wrong(TOOLS, TypeError, found="dict", do="(model, learner, state, *inputs)")
def a_synthetic_gradient_without_its_learner():
    return etr.synthetic_value_and_grad(loss_step)(weights(), weights(), H, X)


@wrong(TOOLS, ValueError, found="'norge'", do="norse")
def a_reader_of_NIR_that_is_none():
    from eqx_etrace.nir import to_nir

    return to_nir(loss_step, weights(), H, X, for_target="norge")


@wrong(TOOLS, ValueError, found="calls no layer", do="`nn.LIF`")
def a_graph_of_what_NIR_has_no_words_for():
    from eqx_etrace.nir import to_nir

    return to_nir(loss_step, weights(), H, X)


@wrong(TOOLS, TypeError, found="dict", do="nir.NIRGraph")
def a_network_of_no_graph():
    from eqx_etrace.nir import from_nir

    return from_nir({}, dt=1.0)


@wrong(TOOLS, TypeError, found="function", do="(step, model, state, x)")
def a_graph_of_model_and_step():
    from eqx_etrace.nir import to_nir

    return to_nir(weights(), loss_step, H, X)
