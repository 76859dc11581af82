"""Pictures, by matplotlib: `pip install 'eqx_etrace[plot]'`. It is imported when something is drawn.

Functions take arrays and draw into axes that they are given, or into a new figure. They return the axes, show nothing,
and leave matplotlib's settings as they are.
"""

from ._fidelity import fidelity as fidelity
from ._raster import raster as raster
from ._record import record as record
from ._record import Recording as Recording
from ._rules import rules as rules
from ._traces import traces as traces
