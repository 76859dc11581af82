"""Of several ways to read a step, the one that drops the least credit.

What is written twice is read once. What a head makes and the step copies is made in lanes, and arrays that hold several
states of a unit are taken apart. What a step closes over is data. Each is a program that computes the same.
"""

import dataclasses
from collections.abc import Iterable

from ._analysis import Analysis, read_as_written
from ._closed_over import closed_over
from ._lanes import with_lanes
from ._repeats import without_repeats
from .by_position import find_places, places_along_short_axes
from .step import check_pure, Places, Step, taken_apart


def analyse(step: Step) -> Analysis:
    """Take a staged step apart. What it closes over is data where that is as good."""
    check_pure(step.program)
    best = _rewritten(step)
    every, may_be_data = closed_over(best)
    watched = set(every).intersection(step.program.constants)  # and not what was written out here
    left = watched.intersection(may_be_data)
    for variables in (left, *({var} for var in sorted(left))) if left else ():
        if variables <= watched:
            read = step.reading(variables)
            as_data = _rewritten(read)
            # All together only if nothing is lost: else one is data, and another an index that must be known.
            if _drops_no_more(as_data, best) and (len(variables) == 1 or all(_are_exact(as_data))):
                step, best, watched = read, as_data, watched - variables
    return dataclasses.replace(best, watched=tuple(sorted(watched))) if watched else best


def _rewritten(step: Step) -> Analysis:
    """What is written twice is read once. What a head makes and the step copies is made in lanes, and arrays that hold
    several states of a unit are taken apart, too, if credit is dropped otherwise that is not then.
    """
    whole = read_as_written(step)
    once = without_repeats(step, whole.tails)
    if once is not step:
        step, whole = once, read_as_written(once)
    if not any(tail.cuts for tail in whole.tails):
        return whole
    return _taken_apart(*_in_lanes(step, whole))


def _in_lanes(step: Step, whole: Analysis) -> tuple[Step, Analysis]:
    """What is copied twice, along one axis and then along another, is made in lanes in two rounds."""
    while True:
        lanes = with_lanes(step, whole.bits, whole.fixed, whole.tails)
        made = whole if lanes is step else read_as_written(lanes)
        if not _drops_less(made, whole):
            return step, whole
        step, whole = lanes, made


def _taken_apart(step: Step, whole: Analysis) -> Analysis:
    """With arrays that hold several states of a unit taken apart, where that pays."""
    told = whole.step, whole.fixed, whole.bits, whole.tails
    places, best = find_places(*told), whole
    if any(places):
        apart = read_as_written(taken_apart(step, places))
        best, places = (apart, places) if _drops_less(apart, whole) else (whole, ((),) * len(places))
    if all(_are_exact(best)):
        return best
    return _made_exact(step, places_along_short_axes(*told, places), best)


def _made_exact(step: Step, ways: Iterable[tuple[Places, ...]], best: Analysis) -> Analysis:
    """With arrays taken apart in the first of these ways that makes more exact; as it is if there is none."""
    tried = (read_as_written(taken_apart(step, places)) for places in ways)
    return next((apart for apart in tried if _makes_exact(apart, best)), best)


def _are_exact(analysis: Analysis) -> list[bool]:
    return [not dropped for dropped in analysis.dropped_but_for_filters]


def _keeps_exact(new: Analysis, old: Analysis) -> bool:
    """Is what was exact still exact?"""
    return all(now or not was for now, was in zip(_are_exact(new), _are_exact(old), strict=True))


def _makes_exact(new: Analysis, old: Analysis) -> bool:
    """More parameters than before?"""
    return _keeps_exact(new, old) and sum(_are_exact(new)) > sum(_are_exact(old))


def _drops_less(new: Analysis, old: Analysis) -> bool:
    """Of all parameters together?"""
    return _keeps_exact(new, old) and _how_much_is_dropped(new) < _how_much_is_dropped(old)


def _drops_no_more(new: Analysis, old: Analysis) -> bool:
    return _keeps_exact(new, old) and _how_much_is_dropped(new) <= _how_much_is_dropped(old)


def _how_much_is_dropped(analysis: Analysis) -> tuple[int, int]:
    return sum(map(len, analysis.dropped_but_for_filters)), sum(map(len, analysis.dropped))
