"""Events on a grid, against loops that count them one by one."""

from fractions import Fraction

import h5py
import numpy as np
import pytest

from eqx_etrace import events

RNG = np.random.default_rng(11)


def count(t, columns, dt, steps, shape, start=0):
    """One by one, in exact arithmetic."""
    grid = np.zeros((steps, *shape), int)
    for i, time in enumerate(t):
        k = (Fraction(time.item()) - Fraction(start)) // Fraction(dt)
        if 0 <= k < steps:
            grid[(k, *(int(c[i]) for c in columns))] += 1
    return grid


def recording(n, dtype, shape=(5, 4), last=10_000):
    t = RNG.integers(0, last, n)
    t[: n // 2] -= t[: n // 2] % 100  # many of them at edges
    return t.astype(dtype), tuple(RNG.integers(0, size, n) for size in shape)


@pytest.mark.parametrize("dtype", [np.int16, np.int32, np.int64, np.uint16, np.uint32, np.uint64, np.float32, float])
@pytest.mark.parametrize(("dt", "start"), [(100, 0), (100.0, 300), (7, 13), (33.3, 0.1)])
def test_every_event_is_in_its_step(dtype, dt, start):
    t, channel = recording(300, dtype)
    found = events.bin_events(t, channel, dt=dt, steps=60, channels=(5, 4), start=start, outside="drop")
    assert found.shape == (60, 5, 4) and found.dtype == np.float32
    np.testing.assert_array_equal(found, count(t, channel, dt, 60, (5, 4), start))


def test_all_are_kept():
    t, (row, _) = recording(5000, np.uint32)
    whole = events.bin_events(t, row, dt=100, steps=100, channels=5)
    assert whole.sum() == 5000
    shuffled = RNG.permutation(5000)
    np.testing.assert_array_equal(whole, events.bin_events(t[shuffled], row[shuffled], dt=100, steps=100, channels=5))
    edges = np.asarray([0, 99, 100, 199, 200, 299])
    found = events.bin_events(edges, np.zeros(6, int), dt=100, steps=3, channels=1, dtype=np.int32)
    assert found[:, 0].tolist() == [2, 2, 2] and found.dtype == np.int32


def test_microseconds_of_a_long_recording():
    """Floats of 32 bits do not hold them; integers do."""
    t = np.asarray([2**40 - 1, 2**40, 2**40 + 999, 2**40 + 1000], np.uint64)
    found = events.bin_events(t, np.zeros(4, np.uint8), dt=1000, steps=3, channels=1, start=2**40 - 1000)
    assert found[:, 0].tolist() == [1, 2, 1]
    huge = np.asarray([2**63 + 2**20], np.uint64)
    assert events.bin_events(huge, np.zeros(1, int), dt=2**20, steps=2, channels=1, start=2**63)[:, 0].tolist() == [
        0,
        1,
    ]


@pytest.mark.parametrize("values", [(False, True), (0, 1), (-1, 1)])
def test_polarities(values):
    t, channel = recording(400, np.int64)
    on = RNG.integers(0, 2, 400)
    polarity = np.asarray(values)[on]
    found = events.bin_events(t, channel, polarity=polarity, dt=100, steps=100, channels=(5, 4))
    np.testing.assert_array_equal(found, count(t, (on, *channel), 100, 100, (2, 5, 4)))


@pytest.mark.parametrize("only", [1, -1, 0])
def test_one_polarity_has_the_same_layout(only):
    found = events.bin_events(np.asarray([5]), np.asarray([2]), polarity=np.asarray([only]), dt=10, steps=2, channels=3)
    assert found.shape == (2, 2, 3) and found.sum() == 1 and found[0, int(only == 1), 2] == 1


@pytest.mark.parametrize("kind", [float, np.int64, np.uint8])
def test_a_recording_without_events_has_the_same_layout(kind):
    nothing = np.zeros(0, kind)
    found = events.bin_events(nothing, nothing, polarity=nothing, dt=10, steps=4, channels=3)
    assert found.shape == (4, 2, 3) and not found.any()
    assert events.bin_events(nothing, (nothing, nothing), dt=10, steps=4, channels=(3, 2)).shape == (4, 3, 2)


def test_more_events_than_16_bits_hold():
    many = np.full(70_000, 3)
    assert events.bin_events(many, 0 * many, dt=10, steps=1, channels=1)[0, 0] == 70_000


def test_a_structured_array():
    t, (y, x) = recording(50, np.int64)
    made = np.zeros(50, [("x", "i2"), ("y", "i2"), ("t", "i8"), ("p", "?")])
    made["t"], made["x"], made["y"], made["p"] = t, x, y, RNG.integers(0, 2, 50)
    before = made.copy()
    found = events.from_structured(made)
    grid = events.bin_events(found.t, found.channel, polarity=found.polarity, dt=100, steps=100, channels=(5, 4))
    np.testing.assert_array_equal(grid, count(t, (made["p"], y, x), 100, 100, (2, 5, 4)))
    np.testing.assert_array_equal(made, before)  # the caller's array is left as it is
    heard = events.from_structured(made[["t", "x"]])
    assert heard.polarity is None
    assert events.bin_events(heard.t, heard.channel, dt=100, steps=100, channels=4).shape == (100, 4)


T, C = np.asarray([-5, 5, 15, 25]), np.asarray([0, 1, 2, 1])
GRID = {"dt": 10, "steps": 3, "channels": 3, "start": -10, "outside": "drop"}
WRONG = {
    "outside": (
        lambda: events.bin_events(T, C, dt=10, steps=2, channels=3),
        "2 of 4 events lie outside the grid, 1 before it and 1 after it: it is from 0 to 20, the events .* -5 to 25",
    ),
    "no such channel": (lambda: events.bin_events(T, C + 1, **GRID), "1 of 4 events have .* 0 to 2, the first .* is 3"),
    "a channel below zero": (lambda: events.bin_events(T, C - 1, **GRID), "the first of them is -1"),
    "halves of channels": (lambda: events.bin_events(T, C / 2, **GRID), "`channel` has the dtype float64"),
    "a column too few": (
        lambda: events.bin_events(T, C, **{**GRID, "channels": (3, 3)}),
        "`channel` has 1 column and `channels` 2 axes",
    ),
    "columns of other lengths": (lambda: events.bin_events(T, C[:3], **GRID), r"channel 0 \[3\]; each must|type"),
    "three polarities": (lambda: events.bin_events(T, C, polarity=C - 1, **GRID), "the values -1, 0, 1; it must be"),
    "halves of polarities": (lambda: events.bin_events(T, C, polarity=C / 2, **GRID), "bool or integers"),
    "no step": (lambda: events.bin_events(T, C, **{**GRID, "dt": 0}), "`dt` is 0; a step must be longer"),
    "no steps": (lambda: events.bin_events(T, C, **{**GRID, "steps": 0}), "`steps` is 0; it must be an integer"),
    "no channels": (lambda: events.bin_events(T, C, **{**GRID, "channels": (0,)}), "`channels` is 0"),
    "a time that is none": (lambda: events.bin_events(T * np.nan, C, **GRID), "4 of 4 times are not finite"),
    "times as dates": (lambda: events.bin_events(T.astype("M8[us]"), C, **GRID), "must be integers or floats"),
    "another word": (lambda: events.bin_events(T, C, **{**GRID, "outside": "clip"}), "must be 'raise' or 'drop'|type"),
    "too narrow": (
        lambda: events.bin_events(np.zeros(300, int), np.zeros(300, int), dtype=np.uint8, **GRID),
        "A step has 300 events of one channel, and uint8 counts to 255",
    ),
    "an array without fields": (lambda: events.from_structured(T), "which has no fields"),
    "no times": (lambda: events.from_structured(np.zeros(3, [("x", int)])), r"fields \['x'\] and no `t`"),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_cannot_be_counted_is_said(what):
    make, said = WRONG[what]
    with pytest.raises((TypeError, ValueError), match=said):
        make()


def test_whole_times_of_any_size():
    for t, start in (((1 << 62) + 10, (1 << 62) + 8), (-(1 << 62) + 2, -(1 << 62)), ((1 << 55) + 2, 1 << 55)):
        grid = events.bin_events(np.asarray([t]), np.asarray([0]), dt=1, steps=4, channels=1, start=start)
        assert grid[:, 0].tolist() == [0, 0, 1, 0]
    with pytest.raises(ValueError, match="`start` is nan"):
        events.bin_events(np.asarray([1]), np.asarray([0]), dt=1, steps=4, channels=1, start=np.nan)


def test_a_file_of_spikes(tmp_path):
    """As SHD is laid out: seconds in half precision, another number of them in each recording, none in one."""
    times = [np.array([0.25, 0.0009766, 0.5], np.float16), np.array([], np.float16)]
    units = [np.array([699, 0, 3], np.uint16), np.array([], np.uint16)]
    with h5py.File(tmp_path / "spikes.h5", "w") as file:
        group = file.create_group("spikes")
        for name, rows, dtype in (("times", times, np.float16), ("units", units, np.uint16)):
            made = group.create_dataset(name, (2,), h5py.vlen_dtype(dtype))
            made[0], made[1] = rows
        file["labels"] = np.array([4, 19], np.uint16)
    with h5py.File(tmp_path / "spikes.h5") as file:
        (one, label), (empty, other) = events.from_hdf5(file, 0), events.from_hdf5(file, 1)
        with pytest.raises(IndexError, match="no recording 2; the file has 2"):
            events.from_hdf5(file, 2)
        with pytest.raises(ValueError, match="must have `spikes/times`"):
            events.from_hdf5(file["spikes"], 0)
    with pytest.raises(TypeError, match="it must be open: `with h5py"):
        events.from_hdf5(str(tmp_path / "spikes.h5"), 0)
    assert (label, other) == (4, 19)
    np.testing.assert_array_equal(one.t, [250_000, 977, 500_000])
    np.testing.assert_array_equal(one.channel, [699, 0, 3])
    grids = [events.bin_events(e.t, e.channel, dt=1000, steps=600, channels=700) for e in (one, empty)]
    assert [grid.shape for grid in grids] == [(600, 700)] * 2
    assert grids[0][250, 699] == grids[0][0, 0] == grids[0][500, 3] == 1 and grids[0].sum() == 3 and grids[1].sum() == 0
