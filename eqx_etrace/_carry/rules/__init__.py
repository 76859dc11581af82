from ._by_position import AbstractPositionRule
from ._drtrl import DRTRL
from ._eprop import EProp
from ._kronecker import KFRTRL, OK
from ._limit import as_bytes, check_limits, TraceTooLargeError
from ._no_trace import NoTrace
from ._on_blocks import AbstractBlockRule, BlockKeeper
from ._ottt import OTPE, OTTT
from ._pp_prop import PPProp
from ._rflo import RFLO
from ._rtrl import OSTL, RTRL, SnAp
from ._rule import AbstractKeeper, AbstractRule, Share
from ._uoro import UORO
from ._weight import Layouts, shown, Weight
