from ._linearise import (
    Drive as Drive,
)
from ._linearise import (
    linearise as linearise,
)
from ._linearise import (
    make_traces as make_traces,
)
from ._linearise import (
    tapped as tapped,
)
from ._linearise import (
    Trace as Trace,
)
