from ._base import AbstractBlockRule as AbstractBlockRule
from ._base import AbstractPositionRule as AbstractPositionRule
from ._base import AbstractRule as AbstractRule
from ._block import RTRL as RTRL
from ._block import SnAp as SnAp
from ._drtrl import DRTRL as DRTRL
from ._no_trace import NoTrace as NoTrace
from ._pp_prop import PPProp as PPProp
