"""Spikes of values, against loops over NumPy numbers."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from eqx_etrace import encode

pytestmark = pytest.mark.outside_sample  # what is tested hardly depends on the version of JAX

RNG = np.random.default_rng(3)


def test_rates_are_those_of_the_values(key):
    x, steps = jnp.asarray([[0.0, 0.05, 0.3], [0.7, 0.95, 1.0]]), 20_000
    for peak in (1.0, 0.25):
        spikes = encode.rate(key, x, steps, peak=peak)
        assert spikes.shape == (steps, 2, 3) and spikes.dtype == x.dtype
        assert set(np.unique(spikes)) == {0.0, 1.0}
        p = peak * np.asarray(x)
        assert (abs(np.asarray(spikes).mean(0) - p) <= 5 * np.sqrt(p * (1 - p) / steps)).all()
    # Draws of neighbours in time and in space are independent.
    z = np.asarray(encode.rate(key, jnp.full(2, 0.5), steps)) - 0.5
    assert abs((z[1:] * z[:-1]).mean()) < 0.01 and abs((z[:, 0] * z[:, 1]).mean()) < 0.01


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float32])
def test_small_probabilities_are_not_rounded_up(key, dtype):
    """Of half precision: a uniform number of bfloat16 has 128 values, so that 0.001 would be 1/128."""
    spikes = encode.rate(key, jnp.full(2000, 0.001, dtype), 200)
    assert spikes.dtype == dtype
    mean = float(spikes.astype(jnp.float32).mean())
    assert abs(mean - 0.001) < 5 * math.sqrt(0.001 / 400_000) + 1e-5


@pytest.mark.parametrize(("tau", "threshold", "dt"), [(20.0, 0.2, 1.0), (5.0, 0.5, 0.25)])
def test_latency_is_when_an_integrator_reaches_threshold(tau, threshold, dt):
    """Against its equation, integrated in small steps."""
    x = np.concatenate([RNG.uniform(-0.5, 4.0, 30), [threshold, 0.0]])
    steps, fine = 60, 400
    spikes = encode.latency(jnp.asarray(x), steps, tau=tau, threshold=threshold, dt=dt)
    keep = math.exp(-dt / fine / tau)
    for unit, drive in enumerate(x):
        V, times = 0.0, []
        for t in range(steps * fine):
            V = drive + (V - drive) * keep
            if threshold <= V and drive != threshold:
                times = [t // fine]
                break
        assert np.flatnonzero(spikes[:, unit]).tolist() == times, drive
    assert 5 < np.asarray(spikes).sum() < 32 and spikes.dtype == jnp.float64


def test_latency_of_a_value_that_rounds_to_the_threshold():
    x = jnp.asarray([0.2, np.nextafter(0.2, 1), np.inf, 1e30, -np.inf])
    assert np.asarray(encode.latency(x, 1000)).sum(0).tolist() == [0, 1, 1, 1, 0]
    late = jnp.asarray(0.2000001)  # 20 ln(2e6) = 290
    assert encode.latency(late, 290).sum() == 0 and encode.latency(late, 291)[290] == 1


def loop(x, threshold, level):
    """ON and OFF, one at a time."""
    counts, level = np.zeros((*x.shape, 2)), np.array(level, float)
    for index in np.ndindex(x.shape[1:]):
        for t in range(len(x)):
            while x[(t, *index)] - level[index] >= threshold:
                level[index] += threshold
                counts[(t, *index, 1)] += 1
            while level[index] - x[(t, *index)] >= threshold:
                level[index] -= threshold
                counts[(t, *index, 0)] += 1
    return counts


@pytest.mark.parametrize("begin", [None, 0.25])
def test_events_of_a_signal_that_moves(begin):
    x = np.cumsum(RNG.integers(-3, 4, size=(50, 2, 3)), 0) / 16.0  # sums of these are exact
    start = x[0] if begin is None else np.full((2, 3), begin)
    found = encode.delta(jnp.asarray(x), 0.125, start=None if begin is None else jnp.asarray(start))
    np.testing.assert_array_equal(found, loop(x, 0.125, start))
    assert found.max() > 1 and (begin is not None or not found[0].any())
    level = start + 0.125 * np.cumsum(found[..., 1] - found[..., 0], 0)
    assert (abs(level - x) < 0.125).all()


def test_no_error_adds_up_over_a_long_signal():
    x = jnp.asarray(RNG.normal(size=4000).cumsum() * 0.3, jnp.float32)
    found = np.asarray(encode.delta(x, 0.1))
    level = float(x[0]) + 0.1 * np.cumsum(found[..., 1] - found[..., 0])
    assert found.dtype == np.float32 and (abs(level - np.asarray(x, float)) < 0.1 + 1e-4).all()


def test_receptive_fields():
    x, units, low, high, beta = RNG.uniform(-1, 3, (4, 2)), 6, -1.0, 3.0, 1.5
    found = encode.population(jnp.asarray(x), units, low=low, high=high, beta=beta)
    assert found.shape == (4, 2, 6)
    for index in np.ndindex(4, 2):
        for i in range(1, units + 1):
            mu = low + (2 * i - 3) / 2 * (high - low) / (units - 2)
            sigma = (high - low) / (units - 2) / beta
            wanted = math.exp(-((x[index] - mu) ** 2) / (2 * sigma**2))
            assert found[(*index, i - 1)] == pytest.approx(wanted, rel=1e-12)


def test_they_are_compiled_and_mapped(key):
    x = jnp.asarray(RNG.uniform(0, 1, 5))
    rate = jax.jit(lambda key, x, peak: encode.rate(key, x, 7, peak=peak))
    np.testing.assert_array_equal(rate(key, x, 0.5), encode.rate(key, x, 7, peak=0.5))
    latency = jax.vmap(lambda x: encode.latency(x, 50))
    np.testing.assert_array_equal(latency(x), encode.latency(x, 50).T)
    np.testing.assert_array_equal(jax.jit(encode.delta)(x, 0.1), encode.delta(x, 0.1))


KEY, X = jax.random.key(0), jnp.asarray([0.5, 0.1])
WRONG = {
    "an image of bytes": (lambda: encode.rate(KEY, jnp.asarray([255]), 5), "must be a float|type"),
    "too large a value": (lambda: encode.rate(KEY, 3 * X, 5), r"`x` must be in \[0, 1\]; it is not, 1 of 2 values"),
    "NaN": (lambda: encode.rate(KEY, jnp.asarray(jnp.nan), 5), r"in \[0, 1\]; it is not, as nan. Scale it"),
    "no probability": (lambda: encode.rate(KEY, X, 5, peak=1.5), "`peak` must be a probability.*as 1.5"),
    "no steps": (lambda: encode.rate(KEY, X, 0), "`steps` is 0; it is how many"),
    "half steps": (lambda: encode.latency(X, 2.5), "`steps` is 2.5|type"),  # type: ignore[arg-type]
    "no time constant": (lambda: encode.latency(X, 5, tau=0.0), "`tau` must be finite and above zero"),
    "no threshold": (lambda: encode.latency(X, 5, threshold=-0.1), "`threshold` must be .* as -0.1"),
    "a current of NaN": (lambda: encode.latency(jnp.full(3, jnp.nan), 5), "must be a number; it is not, 3 of 3"),
    "threshold of nothing": (lambda: encode.delta(X, 0.0), "`threshold` must be .* above zero"),
    "a signal without time": (lambda: encode.delta(X[0], 0.1), "leading time axis|type"),
    "a signal that is infinite": (lambda: encode.delta(X / 0, 0.1), "`x` must be finite"),
    "a start of another shape": (lambda: encode.delta(X, 0.1, start=X), r"must be that of one step, \[\]|type"),
    "two fields": (lambda: encode.population(X, 2), "`units` is 2; it counts receptive fields, at least 3"),
    "an empty range": (lambda: encode.population(X, 4, low=1.0), "range of the values must not be empty"),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_cannot_be_encoded_is_said(what):
    make, said = WRONG[what]
    with pytest.raises((TypeError, ValueError), match=said):
        make()


def test_one_spike_also_in_half_precision():
    values = jnp.linspace(0.21, 1, 40).astype(jnp.bfloat16)
    spikes = encode.latency(values, 2000, tau=300.0)
    assert spikes.dtype == jnp.bfloat16 and set(spikes.astype(jnp.float32).sum(0).tolist()) <= {0.0, 1.0}
