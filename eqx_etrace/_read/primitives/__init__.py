from ._parameters import ACCOUNTED as ACCOUNTED
from ._parameters import is_accounted_for as is_accounted_for
