from ._contraction import Contraction
from ._table import BROADCAST, CONCATENATE, DOT, IDENTITY, is_accounted_for, TABLE, traits_of, TRANSPOSE
from ._traits import Flow, NO_MATTER, Runs, Traits
