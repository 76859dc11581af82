from ._hidden_group import find_arrivals, find_hidden_groups, HiddenGroup
from ._holomorphic import holomorphic_pairs
from ._tail import Cut, Edge, find_tail, Knowledge, Site, Tail
