"""Recordings of events, counted on a grid of steps that is the same for every recording.

    recording = events.from_structured(dataset[0][0])           # a structured array, as tonic hands them out
    xs = events.bin_events(
        recording.t, recording.channel, polarity=recording.polarity, dt=1000, steps=300, channels=(34, 34)
    )                                                           # [300, 2, 34, 34], steps of 1 ms

    with h5py.File("shd_train.h5") as file:                     # the Heidelberg spiking data sets
        recording, label = events.from_hdf5(file, 0)

It is NumPy, because recordings have as many events as they have; what comes out has one shape, and may be stacked and
given to JAX. Times, `dt` and `start` are in microseconds, or all of them in any other unit.
"""

import os
from typing import Any, Literal, NamedTuple

import numpy as np
from jaxtyping import Shaped

from ._given import check_number

Channel = Shaped[np.ndarray, " events"] | tuple[Shaped[np.ndarray, " events"], ...]
Time = int | float | np.number


class Events(NamedTuple):
    """The events of a recording, as `bin_events` takes them."""

    t: Shaped[np.ndarray, " events"]
    """Times."""
    channel: Channel
    """Whole numbers; of a camera the rows and the columns, `(y, x)`."""
    polarity: Shaped[np.ndarray, " events"] | None
    """Did it become brighter? None for a recording that does not say."""


def from_structured(recording: Shaped[np.ndarray, " events"]) -> Events:
    """The columns of a structured array with the fields `t`, `x`, and where it has them `y` and `p`.

    **Arguments**

    - `recording`: as the datasets of tonic hand them out.

    **Returns** `Events`: `t`, `channel` and `polarity`. With a `y` the channel is `(y, x)`, for `channels=(H, W)`;
    tonic's own `sensor_size` is `(W, H, P)`. Recordings of cochleas have a `p` that is always 1: leave it out.

    **Raises** `TypeError` for an array without fields, `ValueError` for one without `t` or `x`.
    """
    names = recording.dtype.names
    if names is None:
        raise TypeError(
            f"The recording is an array of {recording.dtype}, which has no fields; it must be a structured array with "
            "`t` and `x`. Pass plain columns to `bin_events`: `bin_events(t, channel, ...)`."
        )
    missing = [name for name in ("t", "x") if name not in names]
    if missing:
        raise ValueError(
            f"The recording has the fields {list(names)} and no `{missing[0]}`. Pass its columns to `bin_events`."
        )
    channel = (recording["y"], recording["x"]) if "y" in names else recording["x"]
    return Events(recording["t"], channel, recording["p"] if "p" in names else None)


def from_hdf5(file: Any, index: int) -> tuple[Events, int]:
    """One recording of a file laid out as the Heidelberg spiking data sets are (SHD, SSC), and its label.

    **Arguments**

    - `file`: an open `h5py.File`, or anything that is indexed alike: `file["spikes"]["times"]` and
      `file["spikes"]["units"]` have an array for each recording, `file["labels"]` a number.
    - `index`: which recording.

    **Returns** `Events`, whose times are made microseconds of seconds, rounded; the channel is the unit (0 to 699). The
    files hold times in half precision, which tells times after half a second apart by half a millisecond.

    **Raises** `ValueError` for a file without these entries, `IndexError` for a recording that it does not have.

    Source: Cramer et al., "The Heidelberg spiking data sets for the systematic evaluation of spiking neural networks",
    IEEE TNNLS 2022.
    """
    if isinstance(file, str | os.PathLike):
        raise TypeError(f"The file is {str(file)!r}; it must be open: `with h5py.File(path) as file: ...`.")
    try:
        times, units, labels = file["spikes"]["times"], file["spikes"]["units"], file["labels"]
    except KeyError as error:
        raise ValueError(
            f"The file has {sorted(file)} and no {error}; it must have `spikes/times`, `spikes/units` and `labels`."
        ) from error
    if not 0 <= index < len(labels):
        raise IndexError(f"There is no recording {index}; the file has {len(labels)}, from 0 on.")
    t = np.rint(np.asarray(times[index], np.float64) * 1e6).astype(np.int64)
    return Events(t, np.asarray(units[index]).astype(np.int64), None), int(labels[index])


def bin_events(
    t: Shaped[np.ndarray, " events"],
    channel: Channel,
    *,
    dt: Time,
    steps: int,
    channels: int | tuple[int, ...],
    polarity: Shaped[np.ndarray, " events"] | None = None,
    start: Time = 0,
    outside: Literal["raise", "drop"] = "raise",
    dtype: Any = np.float32,
) -> Shaped[np.ndarray, "{steps} ..."]:
    """How many events each step has of each channel, on a grid that does not depend on the recording.

    Step k holds the events of `start + k dt <= t < start + (k + 1) dt`. Every event inside the grid is counted, and a
    recording without events gives zeros of the same shape. Where `t`, `dt` and `start` are whole numbers they are
    divided as such, and no event at the edge of a step is in its neighbour. Floats are rounded: there it may be.

    **Arguments**

    - `t`: times in microseconds, in any order; integers or floats.
    - `channel`: integers; for `channels` with several axes a tuple of one array for each, in the same order: rows and
      columns `(y, x)` for `channels=(H, W)`.
    - `dt`: the length of a step, in the unit of `t`.
    - `steps`: how many steps.
    - `channels`: how many channels, or the shape of the sensor.
    - `polarity`: 0 and 1, -1 and 1, or bool: OFF and ON. With one, the grid has an axis of 2 for it, OFF at 0.
    - `start`: when the first step begins.
    - `outside`: what becomes of events before the first step and after the last: `"raise"` an error that counts
      them, or `"drop"` them.
    - `dtype`: of the counts, float32 or int32 or another that holds them.

    **Returns** counts `[steps, *channels]`, or `[steps, 2, *channels]` with a polarity.

    **Raises** `ValueError` for events outside the grid, for channels that the sensor does not have (whatever `outside`
    says), for columns of different length, times that are not finite, other polarities, and for counts that `dtype`
    cannot hold; `TypeError` for channels or polarities that are no integers.
    """
    check_number("dt", dt, "the length of a step, in the unit of the times")
    check_number("start", start, "when the first step begins, in the unit of the times")
    shape = _shape(steps, channels, dt)
    t, columns = _times(t), _columns(channel, shape[1:])
    signs = None if polarity is None else _signs(np.asarray(polarity))
    _check_lengths(t, columns, signs)
    _check_channels(columns, shape[1:])
    _check_unit(t, dt, steps, start)
    step = _steps_of(t, dt, start)
    inside = (step >= 0) & (step < steps)
    if outside not in ("raise", "drop"):
        raise ValueError(f"`outside` is {outside!r}; it must be 'raise' or 'drop'.")
    if outside == "raise" and not inside.all():
        raise ValueError(_outside(t, step, dt, steps, start))
    if signs is not None:
        columns, shape = [signs, *columns], (shape[0], 2, *shape[1:])
    index = np.ravel_multi_index([step[inside].astype(np.int64), *(c[inside] for c in columns)], shape)
    # Only cells with events are counted, in 64 bits: a grid may have far more cells than a recording has events.
    cells, counts = np.unique(index, return_counts=True)
    _check_counts(counts, np.dtype(dtype))
    grid = np.zeros(shape, dtype)
    grid.reshape(-1)[cells] = counts
    return grid


def _shape(steps: Any, channels: Any, dt: Any) -> tuple[int, ...]:
    """`(steps, *channels)`."""
    shape = channels if isinstance(channels, tuple) else (channels,)
    for name, n in [("steps", steps), *(("channels", n) for n in shape)]:
        if isinstance(n, bool) or not isinstance(n, int | np.integer) or n < 1:
            raise ValueError(f"`{name}` is {n!r}; it must be an integer of at least 1.")
    if not (np.isfinite(dt) and dt > 0):
        raise ValueError(f"`dt` is {dt}; a step must be longer than zero, in the unit of the times.")
    return (int(steps), *map(int, shape))


def _times(t: Any) -> np.ndarray:
    """Numbers without a unit."""
    if hasattr(t, "unit") or hasattr(t, "units"):
        check_number("t", t, "times in microseconds, or in the unit of `dt` and `start`")
    return np.asarray(t)


def _check_unit(t: np.ndarray, dt: Any, steps: int, start: Any) -> None:
    """Are these times of another unit than the steps? Parts of the unit tell, where a step is as long as all."""
    if t.dtype.kind != "f" or steps == 1 or not t.size or not np.isfinite(t).all() or (t == np.rint(t)).all():
        return
    if 20 * np.abs(t - float(start)).max() < dt:
        raise ValueError(
            f"All {t.size:,} events are in the first step: their times are from {t.min()} to {t.max()}, and a step "
            f"takes {dt}. Are they in seconds, and `dt` in microseconds? Then pass `1e6 * t`. If they are right, round "
            "them: `np.rint(t)`."
        )


def _columns(channel: Any, shape: tuple[int, ...]) -> list[np.ndarray]:
    """As many as the sensor has axes, of 64-bit integers."""
    columns = [np.asarray(c) for c in (channel if isinstance(channel, tuple) else (channel,))]
    if len(columns) != len(shape):
        raise ValueError(
            f"`channel` has {len(columns)} column{'s' * (len(columns) > 1)} and `channels` {len(shape)} "
            f"ax{'es' if len(shape) > 1 else 'is'}, {list(shape)}. Pass one column for each axis, in the same order: "
            "`(y, x)` for `channels=(H, W)`."
        )
    for column in columns:
        if column.dtype.kind not in "iu" and column.size:
            raise TypeError(f"`channel` has the dtype {column.dtype}; channels are counted by integers, from 0.")
    return [column.astype(np.int64) for column in columns]


def _signs(polarity: np.ndarray) -> np.ndarray:
    """0 for OFF, 1 for ON."""
    if polarity.dtype.kind not in "biu" and polarity.size:
        raise TypeError(f"`polarity` has the dtype {polarity.dtype}; it must be bool or integers, 0 and 1 or -1 and 1.")
    found = np.unique(polarity.astype(np.int64))
    if not (np.isin(found, (0, 1)).all() or np.isin(found, (-1, 1)).all()):
        shown = ", ".join(map(str, found[:5]))
        raise ValueError(f"`polarity` has the values {shown}; it must be 0 and 1, or -1 and 1, or bool.")
    return (polarity > 0).astype(np.int64)


def _check_lengths(t: np.ndarray, columns: list[np.ndarray], signs: np.ndarray | None) -> None:
    shapes = {"t": t.shape, **{f"channel {i}": c.shape for i, c in enumerate(columns)}}
    shapes |= {} if signs is None else {"polarity": signs.shape}
    if t.ndim != 1 or len(set(shapes.values())) > 1:
        shown = ", ".join(f"{name} {list(shape)}" for name, shape in shapes.items())
        raise ValueError(f"The columns have the shapes {shown}; each must have one entry for every event.")


def _check_channels(columns: list[np.ndarray], shape: tuple[int, ...]) -> None:
    for axis, (column, size) in enumerate(zip(columns, shape, strict=True)):
        wrong = column[(column < 0) | (column >= size)]
        if wrong.size:
            order = " Is the order of the columns that of `channels`?" if len(shape) > 1 else ""
            raise ValueError(
                f"{wrong.size:,} of {column.size:,} events have a channel that axis {axis} of `channels` does not "
                f"have: it has 0 to {size - 1}, the first of them is {wrong[0]}.{order}"
            )


def _steps_of(t: np.ndarray, dt: Any, start: Any) -> np.ndarray:
    """The step of each event, rounded down: of whole numbers exactly."""
    if t.dtype.kind not in "iuf" and t.size:
        raise TypeError(f"`t` has the dtype {t.dtype}; times must be integers or floats.")
    if t.dtype.kind == "f" and not np.isfinite(t).all():
        raise ValueError(f"{np.sum(~np.isfinite(t)):,} of {t.size:,} times are not finite.")
    if not np.isfinite(start):
        raise ValueError(f"`start` is {start}; it must be finite, in the unit of the times.")
    if t.dtype.kind in "iu" and float(dt).is_integer() and float(start).is_integer():
        largest = max(abs(int(t.max(initial=0))), abs(int(t.min(initial=0))), abs(int(start)))
        # Beyond, a difference might not fit into 64 bits; Python's integers hold it.
        whole = t.astype(np.int64 if largest < 2**62 else object)
        return np.asarray((whole - int(start)) // int(dt))
    return np.floor_divide(t.astype(np.float64) - float(start), float(dt))


def _outside(t: np.ndarray, step: np.ndarray, dt: Any, steps: int, start: Any) -> str:
    early, late = int((step < 0).sum()), int((step >= steps).sum())
    return (
        f"{early + late:,} of {t.size:,} events lie outside the grid, {early:,} before it and {late:,} after it: it is "
        f"from {start} to {start + steps * dt}, the events are from {t.min()} to {t.max()}. Choose `start`, `steps` "
        "and `dt` in the unit of `t`, or leave such events out with `outside='drop'`."
    )


def _check_counts(counts: np.ndarray, dtype: np.dtype) -> None:
    """Does the dtype hold them without a change?"""
    if dtype.kind not in "iuf":
        raise TypeError(f"`dtype` is {dtype}; counts are integers or floats.")
    largest = int(counts.max(initial=0))
    most = 2 ** (np.finfo(dtype).nmant + 1) if dtype.kind == "f" else np.iinfo(dtype).max
    if largest > most:
        raise ValueError(f"A step has {largest:,} events of one channel, and {dtype} counts to {most:,}. Use int64.")
