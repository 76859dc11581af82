from ._choose import choose_rule, ChosenRule
from ._graph import compile_graph, ETraceGraph
from ._report import Report
from .draw import Drawing
