from ._choose import choose_rule as choose_rule
from ._choose import ChosenRule as ChosenRule
from ._graph import compile_graph as compile_graph
from ._graph import ETraceGraph as ETraceGraph
from ._report import Report as Report
from .draw import Drawing as Drawing
