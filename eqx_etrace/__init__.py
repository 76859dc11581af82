"""Online gradients for recurrent and spiking networks: eligibility traces for any pure Equinox step.

    graph = compile_graph(step, model, state, *inputs)         # hidden groups, and where parameters enter them
    print(graph.report(DRTRL()))                               # what is exact, what is dropped, what it costs
    online = etrace_value_and_grad(loss_step, DRTRL())
    trace = online.init(model, state, *inputs)
    (loss, grads), state, trace = online(model, state, trace, *inputs)

The rules are `DRTRL`, `PPProp`, `RTRL`, `SnAp` and `NoTrace`; `nn` holds neurons and synapses.
"""

from . import nn as nn
from ._analysis import HiddenGroup as HiddenGroup
from ._analysis import ParamRelation as ParamRelation
from ._choose import choose_rule as choose_rule
from ._choose import ChosenRule as ChosenRule
from ._draw import Drawing as Drawing
from ._fidelity import Fidelity as Fidelity
from ._fidelity import FidelityProbe as FidelityProbe
from ._fidelity import ProbeState as ProbeState
from ._grad import etrace_grad as etrace_grad
from ._grad import etrace_value_and_grad as etrace_value_and_grad
from ._grad import ETraceGrad as ETraceGrad
from ._graph import compile_graph as compile_graph
from ._graph import ETraceGraph as ETraceGraph
from ._plan import ETrace as ETrace
from ._report import Report as Report
from ._rule import AbstractBlockRule as AbstractBlockRule
from ._rule import AbstractPositionRule as AbstractPositionRule
from ._rule import AbstractRule as AbstractRule
from ._rule import DRTRL as DRTRL
from ._rule import NoTrace as NoTrace
from ._rule import PPProp as PPProp
from ._rule import RTRL as RTRL
from ._rule import SnAp as SnAp
from ._vjp import etrace_vjp as etrace_vjp
from ._vjp import ETraceVJP as ETraceVJP

__version__ = "0.1.0"
