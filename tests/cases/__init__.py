"""ONE table of cases: name -> step, and which parameters D-RTRL gets exactly right."""

from . import approximate, attributes, exact, layers, recurrent, rules, spiking
from .reference import reference, trajectory
from .table import Case, CASES

__all__ = [
    "Case",
    "CASES",
    "reference",
    "trajectory",
    "approximate",
    "attributes",
    "exact",
    "layers",
    "recurrent",
    "rules",
    "spiking",
]
