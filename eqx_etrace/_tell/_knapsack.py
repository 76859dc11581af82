"""A knapsack: one offer for every unit, so that as many weights as can be are exact within a given memory.

    max  sum_u exact[u] weights[u]      so that      sum_u bytes[u] <= memory ,

where bytes[u] is that of the cheapest offer that makes the unit u exact, or of the cheapest of all. The best choice is
found by keeping, unit by unit, the choices that no other beats. Where these become too many, it is the most weights
per byte first, or the one unit with the most weights if that is better. What is left of the memory then buys the other
units better offers, one rank after the other.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from fractions import Fraction

from .._carry import AbstractRule, NoTrace


@dataclasses.dataclass(frozen=True)
class Offer:
    """What one rule asks of one unit, and gives it."""

    rule: AbstractRule
    bytes: int
    is_exact: bool


@dataclasses.dataclass(frozen=True)
class Unit:
    """Effective weights that are chosen for together."""

    weights: frozenset[int]
    size: int
    """How many scalar parameters are behind them."""
    offers: tuple[Offer, ...]
    """By rule, the most exact first."""


_NOTHING = Offer(NoTrace(), 0, False)
_MOST_CHOICES = 2**12
"""So many choices are looked at; layers that are alike have few."""


def fill(units: Sequence[Unit], most: int) -> list[Offer]:
    """One offer for every unit, of so many bytes together."""
    least = [min(unit.offers, key=_bytes, default=_NOTHING) for unit in units]
    needed = sum(map(_bytes, least))
    if needed > most:
        return _as_many(least, most)
    exact = list(map(_cheapest_exact, units))
    chosen = list(least)
    for u in _most_weights(units, least, exact, most - needed):
        chosen[u] = exact[u] or least[u]
    return _improved(units, chosen, most - sum(map(_bytes, chosen)))


def _bytes(offer: Offer) -> int:
    return offer.bytes


def _cheapest_exact(unit: Unit) -> Offer | None:
    return min((offer for offer in unit.offers if offer.is_exact), key=_bytes, default=None)


def _improved(units: Sequence[Unit], chosen: list[Offer], left: int) -> list[Offer]:
    """The best offers that the bytes which are left still buy, one rank after the other, the smallest first."""
    ranks = max((len(unit.offers) for unit in units), default=0)
    for rank in range(ranks):
        for u in sorted(range(len(units)), key=lambda u: (units[u].offers[rank].bytes, u)):
            offer, held = units[u].offers[rank], chosen[u]
            is_better = not held.is_exact and rank < units[u].offers.index(held)
            if is_better and offer.bytes - held.bytes <= left:
                chosen[u], left = offer, left - offer.bytes + held.bytes
    return chosen


def _as_many(least: Sequence[Offer], most: int) -> list[Offer]:
    """The smallest first, as many as fit."""
    chosen = [_NOTHING] * len(least)
    for u in sorted(range(len(least)), key=lambda u: (least[u].bytes, u)):
        if least[u].bytes <= most:
            chosen[u], most = least[u], most - least[u].bytes
    return chosen


def _most_weights(
    units: Sequence[Unit], least: Sequence[Offer], exact: Sequence[Offer | None], left: int
) -> Sequence[int]:
    """Which units to make exact, so that they have as many weights as can be."""
    price = {u: offer.bytes - least[u].bytes for u, offer in enumerate(exact) if offer is not None}
    paid = [u for u in price if 0 < price[u] <= left]
    return [*(u for u in price if price[u] <= 0), *_best(units, price, paid, left)]


def _best(units: Sequence[Unit], price: Mapping[int, int], paid: Sequence[int], left: int) -> Sequence[int]:
    """The choices that no other beats in both, what they cost and how many weights they have; of these the last."""
    choices: list[tuple[int, int, tuple[int, ...]]] = [(0, 0, ())]
    for u in paid:
        more = [(cost + price[u], size + units[u].size, (*which, u)) for cost, size, which in choices]
        ordered = sorted([*choices, *more], key=lambda choice: (choice[0], -choice[1]))
        choices = []
        for choice in ordered:
            if choice[0] <= left and (not choices or choice[1] > choices[-1][1]):
                choices.append(choice)
        if len(choices) > _MOST_CHOICES:
            return _greedy(units, price, paid, left)
    return choices[-1][2]


def _greedy(units: Sequence[Unit], price: Mapping[int, int], paid: Sequence[int], left: int) -> Sequence[int]:
    """By weights per byte, up to the first that does not fit, or the largest alone: at least half of the best."""
    first, spent = [], 0
    for u in sorted(paid, key=lambda u: (-Fraction(units[u].size, price[u]), u)):
        spent += price[u]
        if spent > left:
            break
        first.append(u)
    largest = max(paid, key=lambda u: (units[u].size, -u))
    return first if sum(units[u].size for u in first) >= units[largest].size else [largest]
