"""Which cells there are, and which of them say no."""

from ._derivatives import DERIVATIVES
from ._program import COPIES, PROGRAMS
from ._setting import RULES, WITH_DECAY

CELLS = {**PROGRAMS, **DERIVATIVES, **COPIES}
"""By transform, what checks a rule by its name."""
NO_DECAY = tuple(name for name in RULES if name not in WITH_DECAY)
REFUSED = {
    ("OK", transform): (NotImplementedError, "decomposes its products at every step") for transform in DERIVATIVES
}
"""By rule and transform, the error that says so."""
