"""Filters: what others make of a group by fixed linear maps, kept in the positions of the group.

Let a variable z of one group be read by a state r of another, through a linear map L that does not change with time,

    r  <-  c r  +  b L z ,

where c and b are one number each for all of r that one lane of z reaches; lanes may differ, and both may change with
time. Then L commutes with the recursion. r owes to z what L makes of its **filter**

    zbar  <-  c zbar  +  b z ,          r  =  L zbar  +  what it owes to others.

The filter lies in the positions of z. Taken for one more state of the group of z, it has a trace by position, and r has
none of its own to keep: a learning signal of r is one of zbar, pulled back through L. Several states that read z at one
place are filtered together; then c is a small matrix, and b a vector. A filter may itself be read: by a filter further
on, which then stands in the positions of a z of its own.

Source: the filtered trace of e-prop (Bellec et al., Nature Communications 2020, Methods), for any linear reader.
"""

import dataclasses

from ..program import Equation, Positions

Edge = tuple[int, int]
"""(the first output of an equation, the number of its operand)"""


@dataclasses.dataclass(frozen=True, eq=False)
class Entrance:
    """y = L z: where a variable enters a group through a linear map that mixes positions."""

    equation: Equation
    operand: int
    """The number of z among its operands."""
    frame: Positions
    """For each element of y, its position in the group that reads it."""

    @property
    def edge(self) -> Edge:
        return (self.equation.outputs[0], self.operand)

    @property
    def source(self) -> int:
        """The variable z."""
        return self.equation.inputs[self.operand]

    @property
    def output(self) -> int:
        """The variable y."""
        return self.equation.outputs[0]


@dataclasses.dataclass(frozen=True, eq=False)
class Filter:
    """What one state owes to a variable z that it reads, in the positions of z."""

    number: int
    """Its own, after those of the states of the step and of earlier filters."""
    state: int
    """The number of the state, or of the filter, that it stands for."""
    leaf: int
    """The state that it stands for in the end, through other filters or not."""
    entrance: Entrance
    positions: Positions
    """For each element of z, its position in the group of the filter."""
    lanes: Positions
    """For each element of z, an element of y that it reaches, NONE if none."""
    reads: Positions
    """For each element of y, the element of the state that it enters."""
    feeds: frozenset[int]
    """The states that the state is made of in the next step, by number: filters of these stand beside it."""
    is_entered: bool
    """Does y enter this state in the same step, and not only through others?"""

    def is_fed_by(self, other: "Filter") -> bool:
        """Does it read this one in the next step?"""
        return self.entrance.edge == other.entrance.edge and other.state in self.feeds
