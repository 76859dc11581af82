"""The estimator: from a rule and a call to a gradient and the traces after it.

Read it from top to bottom. `_assignment` says what is kept of every effective weight, `_plan` is all that is settled
before numbers flow, `_call` binds it to the arrays of one call. `_evaluate` has the step as a function, `_transition`
what it did to all that is kept. Its four formulas stand where their code is: hand-over in `_hand_over`, windows 1 and 0
in `_one_step`, a step that need not be pulled back in `_closed_step`, a window of many steps in `_windows`.
"""

from ._arguments import check_window as check_window
from ._arguments import split_cotangents as split_cotangents
from ._arguments import time_steps as time_steps
from ._assignment import assign as assign
from ._assignment import Assignment as Assignment
from ._assignment import check_rule as check_rule
from ._assignment import Part as Part
from ._assignment import RuleOrChoice as RuleOrChoice
from ._call import Arrays as Arrays
from ._call import Call as Call
from ._etrace import check_trace as check_trace
from ._etrace import ETrace as ETrace
from ._gradient import settle as settle
from ._one_step import at_window_0 as at_window_0
from ._one_step import at_window_1 as at_window_1
from ._one_step import take_step as take_step
from ._plan import make_plan as make_plan
from ._plan import places as places
from ._plan import Plan as Plan
from ._transition import advance as advance
from ._windows import Estimate as Estimate
from ._windows import many_steps as many_steps
from ._windows import one_step as one_step
