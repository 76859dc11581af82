from ._each import for_each as for_each
from ._head import Head as Head
from ._head import Product as Product
from ._influence import as_scalars as as_scalars
from ._influence import Entries as Entries
from ._influence import entries as entries
from ._influence import Influence as Influence
from ._influence import make_influence as make_influence
from ._jacobian import (
    compose as compose,
)
from ._jacobian import (
    Drive as Drive,
)
from ._jacobian import (
    Jacobians as Jacobians,
)
from ._jacobian import (
    lanes as lanes,
)
from ._jacobian import (
    Matrix as Matrix,
)
from ._jacobian import (
    Window as Window,
)
from ._linearise import (
    linearise as linearise,
)
from ._linearise import (
    tapped as tapped,
)
from ._order import after as after
from ._times import are_finite as are_finite
from ._times import finite as finite
from ._times import mended as mended
from ._times import spoiled as spoiled
from ._times import times as times
from ._trace import (
    make_traces as make_traces,
)
from ._trace import (
    Trace as Trace,
)
