"""Wrong uses, each with what its answer must say. `python -m misuse` prints the answers, as a user gets them."""

from . import arguments as arguments
from . import connectomes as connectomes
from . import numbers as numbers
from . import sequences as sequences
from . import sizes as sizes
from . import states as states
from . import steps as steps
from . import tools as tools
from . import trees as trees
from .case import Case as Case
from .case import CASES as CASES
