"""What a rule of your own is made of; how to write one is on the page `docs/extending.md`.

A rule by position (`AbstractPositionRule`) is told a `TraceLayout`, and for every step a `Drive`, for a window of steps
a `Window`. Any other rule (`AbstractRule`) keeps what it likes of a `Weight`, in keepers.
"""

from ._carry import AbstractKeeper as AbstractKeeper
from ._carry import Drive as Drive
from ._carry import FactoredShare as FactoredShare
from ._carry import Signal as Signal
from ._carry import TraceLayout as TraceLayout
from ._carry import Transition as Transition
from ._carry import Transitions as Transitions
from ._carry import Weight as Weight
from ._carry import Window as Window
from ._read import Cut as Cut
