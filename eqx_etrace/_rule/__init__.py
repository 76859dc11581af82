from ._base import AbstractRule as AbstractRule
from ._drtrl import DRTRL as DRTRL
from ._pp_prop import PPProp as PPProp
