"""Online gradients for recurrent and spiking networks: eligibility traces for any pure Equinox step.

    graph = compile_graph(step, model, state, *inputs)         # hidden groups, and where parameters enter them
    print(graph.report(DRTRL()))                               # what is exact, what is dropped, what it costs
    online = etrace_value_and_grad(loss_step, DRTRL())
    trace = online.init(model, state, *inputs)
    (loss, grads), state, trace = online(model, state, trace, *inputs)

The rules are `DRTRL`, `EProp`, `RFLO`, `OTTT`, `OTPE`, `PPProp` by position, `RTRL`, `SnAp`, `OSTL` on blocks of the
state, `UORO`, `KFRTRL`, `OK` at random, and `NoTrace`. `nn` holds neurons, synapses and cells, `encode` and `events`
make spikes, `connectome` has who is connected to whom, `losses` has losses for spikes, `plot` draws, and `extend` is
what a rule of your own is made of.
"""

from . import connectome as connectome
from . import encode as encode
from . import events as events
from . import extend as extend
from . import losses as losses
from . import nn as nn
from . import plot as plot
from ._carry import AbstractBlockRule as AbstractBlockRule
from ._carry import AbstractPositionRule as AbstractPositionRule
from ._carry import AbstractRule as AbstractRule
from ._carry import DRTRL as DRTRL
from ._carry import EProp as EProp
from ._carry import KFRTRL as KFRTRL
from ._carry import NoTrace as NoTrace
from ._carry import OK as OK
from ._carry import OSTL as OSTL
from ._carry import OTPE as OTPE
from ._carry import OTTT as OTTT
from ._carry import PPProp as PPProp
from ._carry import RFLO as RFLO
from ._carry import RTRL as RTRL
from ._carry import SnAp as SnAp
from ._carry import UORO as UORO
from ._grad import etrace_grad as etrace_grad
from ._grad import etrace_value_and_grad as etrace_value_and_grad
from ._grad import ETraceGrad as ETraceGrad
from ._learner import Learning as Learning
from ._learner import OnlineLearner as OnlineLearner
from ._measure import Fidelity as Fidelity
from ._measure import FidelityProbe as FidelityProbe
from ._measure import ProbeState as ProbeState
from ._read import HiddenGroup as HiddenGroup
from ._read import ParamRelation as ParamRelation
from ._scores import Scores as Scores
from ._spend import ETrace as ETrace
from ._synthetic import synthetic_value_and_grad as synthetic_value_and_grad
from ._synthetic import SyntheticGradient as SyntheticGradient
from ._tell import choose_rule as choose_rule
from ._tell import ChosenRule as ChosenRule
from ._tell import compile_graph as compile_graph
from ._tell import Drawing as Drawing
from ._tell import ETraceGraph as ETraceGraph
from ._tell import Report as Report
from ._vjp import etrace_vjp as etrace_vjp
from ._vjp import ETraceVJP as ETraceVJP

__version__ = "0.1.0"
