from ._by_position import AbstractPositionRule
from ._drtrl import DRTRL
from ._no_trace import NoTrace
from ._on_blocks import AbstractBlockRule, as_bytes, BlockKeeper, check_limits, RTRL, SnAp, TraceTooLargeError
from ._pp_prop import PPProp
from ._rule import AbstractKeeper, AbstractRule, Layouts, Share, shown, Weight
