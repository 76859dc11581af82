from ._driven import places_along_short_axes
from ._filter import Edge, Entrance, Filter
from ._hidden_group import find_arrivals, find_hidden_groups, groups_with, HiddenGroup
from ._holomorphic import holomorphic_pairs
from ._pace import Pace
from ._packed import find_places
from ._passes import read_by
from ._rows import Rows, rows_of
from ._tail import Cut, Site, Tail, with_readers
from ._walk import find_tail, Knowledge
