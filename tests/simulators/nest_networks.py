"""Six networks that learn in NEST 3.10.0 by e-prop, in closed loop: `python nest_networks.py OUT.npz`, where NEST is.

Three are of the kind of its regression task (`eprop_iaf_bsshslm_2020`, `eprop_iaf_adapt_bsshslm_2020`): weights are
updated after each of four sequences. Three have the models without sequences (`eprop_iaf`, `eprop_iaf_adapt`): each
synapse is updated whenever a spike comes to it. Keys are `CASE__NAME`, as `tests/nest/README.md` says.
"""

import sys
import warnings

import nest
import numpy as np

warnings.simplefilter("ignore")
STATIC = {"synapse_model": "static_synapse", "delay": 1.0}
TAU, TAU_OUT = 20.0, 15.0
BY_SEQUENCE = {
    "sequences": {"n": (20, 12, 1), "t_ref": 0.0, "eta": 2e-3, "adapts": False},
    "sequences_adapting": {"n": (20, 12, 1), "t_ref": 0.0, "eta": 2e-3, "adapts": True},
    "sequences_refractory": {"n": (20, 12, 2), "t_ref": 3.0, "eta": 1e-3, "adapts": True},
}
BY_SPIKE = {
    "spikes": {"n": (10, 8, 1), "eta": 2e-4, "c_reg": 0.05, "adapts": False},
    "spikes_without_loop": {"n": (10, 8, 1), "eta": 1e-3, "c_reg": 0.0, "adapts": False},
    "spikes_adapting": {"n": (10, 8, 2), "eta": 2e-4, "c_reg": 0.05, "adapts": True},
}


def plastic(model, weight):
    return {"synapse_model": model, "delay": 1.0, "weight": weight}


def between(source, target, model, shape):
    """The weights [to, from] as they are now."""
    weights = np.zeros(shape)
    connections = nest.GetConnections(source, target, synapse_model=model)
    if not len(connections):
        return weights
    found = connections.get(["source", "target", "weight"])
    for s, t, w in zip(found["source"], found["target"], found["weight"], strict=True):
        weights[t - target[0].global_id, s - source[0].global_id] = w
    return weights


def spikes_of(recorder, neurons, steps):
    """[time, neurons]; a spike at t ms is in row t."""
    events, rows = recorder.get("events"), np.zeros((steps, len(neurons)))
    for sender, time in zip(events["senders"], events["times"], strict=True):
        if int(time) < steps:
            rows[int(time), sender - neurons[0].global_id] = 1
    return rows


def drawn(rng, n_in, n, n_out, scales):
    """W_in, W_rec without self-connections, W_out, B."""
    w_in, w_rec, w_out, b = (
        scale * rng.normal(size=shape)
        for scale, shape in zip(scales, [(n, n_in), (n, n), (n_out, n), (n, n_out)], strict=True)
    )
    np.fill_diagonal(w_rec, 0)
    return w_in, w_rec, w_out, b


def connect(model, feedback, populations, weights):
    """All but the targets; recurrent weights one by one, so that each is where it belongs."""
    inputs, units, readout = populations
    w_in, w_rec, w_out, b = weights
    nest.Connect(inputs, units, "all_to_all", plastic(model, w_in))
    for to, row in enumerate(w_rec):
        for source in np.flatnonzero(row):
            nest.Connect(units[int(source)], units[to], "one_to_one", plastic(model, w_rec[to, source]))
    nest.Connect(units, readout, "all_to_all", plastic(model, w_out))
    nest.Connect(readout, units, "all_to_all", plastic(feedback, b))


def optimiser(eta):
    return {"batch_size": 1, "eta": eta, "optimize_each_step": False, "Wmin": -100.0, "Wmax": 100.0}


def by_sequence(n, t_ref, eta, adapts, steps=200, sequences=4):
    """The first three steps of a sequence have no input: where NEST counts their spikes is not told here."""
    rng, (n_in, units, n_out) = np.random.default_rng(0), n
    total = steps * sequences
    nest.ResetKernel()
    nest.set(resolution=1.0, total_num_virtual_procs=1, eprop_reset_neurons_on_update=True)
    nest.set(eprop_update_interval=float(steps), eprop_learning_window=float(steps))
    x = rng.random((steps, n_in)) < 0.08
    x[:3] = False
    t = np.arange(steps)
    slow = [np.sin(2 * np.pi * t / steps * (k + 1) + 0.3 * k) for k in range(n_out)]
    target = np.stack(slow, 1) + 0.5 * np.sin(2 * np.pi * 3 * t / steps)[:, None]
    target -= target[0]
    generators, inputs = nest.Create("spike_generator", n_in), nest.Create("parrot_neuron", n_in)
    cell = {
        "C_m": 1.0,
        "E_L": 0.0,
        "V_m": 0.0,
        "V_th": 0.1,
        "tau_m": TAU,
        "t_ref": t_ref,
        "regular_spike_arrival": False,
    }
    cell |= {"c_reg": 300.0, "f_target": 10.0, "surrogate_gradient_height": 0.75, "surrogate_gradient_width": 0.6}
    cell |= {"adapt_beta": 0.02, "adapt_tau": 80.0} if adapts else {}
    rec = nest.Create("eprop_iaf_adapt_bsshslm_2020" if adapts else "eprop_iaf_bsshslm_2020", units, cell)
    leaky = {"C_m": 1.0, "E_L": 0.0, "V_m": 0.0, "tau_m": TAU_OUT, "regular_spike_arrival": False}
    out = nest.Create("eprop_readout_bsshslm_2020", n_out, {**leaky, "loss": "mean_squared_error"})
    wanted = nest.Create("step_rate_generator", n_out)
    for i in range(n_in):
        times = [np.flatnonzero(x[:, i]) + k * steps + 1.0 for k in range(sequences)]
        generators[i].set(spike_times=np.concatenate(times))
    for k in range(n_out):
        wanted[k].set(amplitude_times=np.arange(total) + 4.0, amplitude_values=np.tile(target[:, k], sequences))
    weights = drawn(rng, n_in, units, n_out, [n_in**-0.5, units**-0.5, units**-0.5, units**-0.5])
    model, feedback = "eprop_synapse_bsshslm_2020", "eprop_learning_signal_connection_bsshslm_2020"
    nest.SetDefaults(model, {"tau_m_readout": TAU_OUT, "average_gradient": False, "optimizer": optimiser(eta)})
    nest.Connect(generators, inputs, "one_to_one", STATIC)
    connect(model, feedback, (inputs, rec, out), weights)
    nest.Connect(
        wanted, out, "one_to_one", {"synapse_model": "rate_connection_delayed", "delay": 1.0, "receptor_type": 2}
    )
    recorder = nest.Create("spike_recorder")
    nest.Connect(rec, recorder, "all_to_all", STATIC)
    last = nest.Create("spike_generator", 1, {"spike_times": [total + 5.0]})  # brings the last update
    for population in (inputs, rec):
        nest.Connect(last, population, "all_to_all", {**STATIC, "weight": 1000.0})
    nest.Simulate(total + 8.0)
    pairs = {"in": (inputs, rec), "rec": (rec, rec), "out": (rec, out)}
    after = {f"V_{k}": between(*pair, model, w.shape) for (k, pair), w in zip(pairs.items(), weights, strict=False)}
    spikes = spikes_of(recorder, rec, total + 3)[3:]  # the first row of a sequence is at 3 ms
    par = [TAU, TAU_OUT, 0.1, 0.75, 0.6, t_ref, 300.0, 10.0, 80.0, 0.02, float(adapts), eta, sequences]
    return dict(zip(["W_in", "W_rec", "W_out", "B"], weights, strict=True)) | after | {
        "x": x.astype(float), "target": target, "spikes": spikes, "par": np.array(par)
    }  # fmt: skip


def by_spike(n, eta, c_reg, adapts, steps=300):
    """Rows are as V is recorded: row t is at t + 1 ms."""
    rng, (n_in, units, n_out) = np.random.default_rng(0), n
    nest.ResetKernel()
    nest.set(resolution=1.0, total_num_virtual_procs=1)
    x, t = rng.random((steps, n_in)) < 0.06, np.arange(steps)
    target = np.stack([np.sin(2 * np.pi * t / 100 * (k + 1) + 0.3 * k) for k in range(n_out)], 1)
    generators, inputs = nest.Create("spike_generator", n_in), nest.Create("parrot_neuron", n_in)
    kappa = float(np.exp(-1 / TAU_OUT))
    cell = {
        "C_m": 1.0,
        "E_L": 0.0,
        "V_m": 0.0,
        "V_th": 0.6,
        "tau_m": TAU,
        "t_ref": 0.0,
        "kappa": kappa,
        "kappa_reg": 0.95,
    }
    cell |= {"c_reg": c_reg, "f_target": 10.0, "surrogate_gradient_height": 1.5, "surrogate_gradient_width": 0.6}
    cell |= {"adapt_beta": 0.05, "adapt_tau": 80.0} if adapts else {}
    rec = nest.Create("eprop_iaf_adapt" if adapts else "eprop_iaf", units, cell)
    out = nest.Create("eprop_readout", n_out, {"C_m": 1.0, "E_L": 0.0, "V_m": 0.0, "tau_m": TAU_OUT})
    wanted, window = nest.Create("step_rate_generator", n_out), nest.Create("step_rate_generator")
    for i in range(n_in):
        generators[i].set(spike_times=np.flatnonzero(x[:, i]) + 1.0)
    for k in range(n_out):
        wanted[k].set(amplitude_times=t + 3.0, amplitude_values=target[:, k])
    window.set(amplitude_times=[3.0], amplitude_values=[1.0])
    weights = drawn(rng, n_in, units, n_out, [0.5, 0.3 if c_reg else 0.0, 0.1, 1.0])
    nest.SetDefaults("eprop_synapse", {"optimizer": optimiser(eta)})
    nest.Connect(generators, inputs, "one_to_one", STATIC)
    connect("eprop_synapse", "eprop_learning_signal_connection", (inputs, rec, out), weights)
    late = {"synapse_model": "rate_connection_delayed", "delay": 1.0}
    nest.Connect(wanted, out, "one_to_one", {**late, "receptor_type": 2})
    nest.Connect(window, out, "all_to_all", {**late, "receptor_type": 1})
    recorders = {name: nest.Create("spike_recorder") for name in ("in", "rec")}
    nest.Connect(inputs, recorders["in"], "all_to_all", STATIC)
    nest.Connect(rec, recorders["rec"], "all_to_all", STATIC)
    nest.Simulate(float(steps))
    pairs = {"in": (inputs, rec), "rec": (rec, rec), "out": (rec, out)}
    after = {
        f"V_{k}": between(*pair, "eprop_synapse", w.shape) for (k, pair), w in zip(pairs.items(), weights, strict=False)
    }
    heard = spikes_of(recorders["in"], inputs, steps)
    spikes = spikes_of(recorders["rec"], rec, steps + 1)[1:]
    par = [TAU, TAU_OUT, 0.6, 1.5, 0.6, 0.0, c_reg, 10.0, 80.0, 0.05, float(adapts), eta, 0.95]
    shown = np.concatenate([np.zeros((3, n_out)), target])[:steps]  # the target as the readout has it in each row
    return dict(zip(["W_in", "W_rec", "W_out", "B"], weights, strict=True)) | after | {
        "x": heard, "target": shown, "spikes": spikes, "par": np.array(par)
    }  # fmt: skip


def main(out):
    made = {f"{case}__{k}": v for case, given in BY_SEQUENCE.items() for k, v in by_sequence(**given).items()}
    made |= {f"{case}__{k}": v for case, given in BY_SPIKE.items() for k, v in by_spike(**given).items()}
    np.savez_compressed(out, **made)


main(sys.argv[1])
