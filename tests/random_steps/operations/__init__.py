"""The operations that random steps are made of."""

from . import _arrays as _arrays
from . import _calls as _calls
from . import _weights as _weights
from ._table import like as like
from ._table import NONLINEAR as NONLINEAR
from ._table import OPERATIONS as OPERATIONS
from ._table import real as real
