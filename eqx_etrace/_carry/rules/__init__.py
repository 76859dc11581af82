from ._by_position import AbstractPositionRule
from ._drtrl import DRTRL
from ._eprop import EProp
from ._no_trace import NoTrace
from ._on_blocks import AbstractBlockRule, as_bytes, BlockKeeper, check_limits, RTRL, SnAp, TraceTooLargeError
from ._ottt import OTPE, OTTT
from ._pp_prop import PPProp
from ._rflo import RFLO
from ._rule import AbstractKeeper, AbstractRule, Layouts, Share, shown, Weight
