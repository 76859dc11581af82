from ._probe import Fidelity as Fidelity
from ._probe import FidelityProbe as FidelityProbe
from ._probe import ProbeState as ProbeState
