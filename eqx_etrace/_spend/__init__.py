"""The estimator: from a rule and a call to a gradient and the traces after it.

Read it from top to bottom. `_assignment` says what is kept of every effective weight, `_plan` is all that is settled
before numbers flow, `_call` binds it to the arrays of one call. `_evaluate` has the step as a function, `_transition`
what it did to all that is kept. Its four formulas stand where their code is: hand-over in `_hand_over`, windows 1 and 0
in `_one_step`, a step that need not be pulled back in `_closed_step`, a window of many steps in `_windows`.
"""

from ._arguments import check_window, split_cotangents, time_steps
from ._assignment import assign, Assignment, check_rule, check_step, Part, RuleOrChoice
from ._call import Arrays, Call
from ._etrace import check_no_trace, check_trace, ETrace
from ._gradient import settle
from ._inputs import check_inputs
from ._one_step import at_window_0, at_window_1, take_step
from ._placement import init_beside, trace_sharding
from ._plan import make_plan, places, Plan
from ._transition import advance
from ._windows import Estimate, many_steps, one_step
