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
from ._status import entering as entering
from ._status import finite as finite
from ._status import kept_finite as kept_finite
from ._status import lane_status as lane_status
from ._status import scaled as scaled
from ._status import Stored as Stored
from ._status import through as through
from ._status import times as times
from ._status import without_idle_lanes as without_idle_lanes
from ._status import worst as worst
from ._trace import (
    make_traces as make_traces,
)
from ._trace import (
    Trace as Trace,
)
