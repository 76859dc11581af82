from ._head import Head as Head
from ._head import Product as Product
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
    Matrix as Matrix,
)
from ._linearise import (
    linearise as linearise,
)
from ._linearise import (
    tapped as tapped,
)
from ._order import after as after
from ._trace import (
    make_traces as make_traces,
)
from ._trace import (
    Trace as Trace,
)
