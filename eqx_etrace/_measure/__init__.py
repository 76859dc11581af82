from ._probe import Fidelity, FidelityProbe, ProbeState
