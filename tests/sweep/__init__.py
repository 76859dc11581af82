"""Operations of JAX as a table of small functions, and what must hold of each."""

from . import _elementwise as _elementwise
from . import _flow as _flow
from . import _indexed as _indexed
from . import _products as _products
from . import _reduced as _reduced
from . import _shapes as _shapes
from . import _solved as _solved
from ._call import Call as Call
from ._call import calls_of as calls_of
from ._call import complex_calls_of as complex_calls_of
from ._call import has_sample as has_sample
from ._check import check as check
from ._check import Found as Found
from ._table import Operation as Operation
from ._table import OPERATIONS as OPERATIONS
