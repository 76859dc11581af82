"""Every rule under every transform of JAX, and every way to copy it: the cells of the table of `docs/transforms.md`."""

from ._derivatives import DERIVATIVES as DERIVATIVES
from ._page import PAGE as PAGE
from ._page import table as table
from ._program import COPIES as COPIES
from ._program import PROGRAMS as PROGRAMS
from ._setting import H as H
from ._setting import MODEL as MODEL
from ._setting import out_step as out_step
from ._setting import RULES as RULES
from ._setting import same as same
from ._setting import step as step
from ._setting import XS as XS
from ._table import CELLS as CELLS
from ._table import NO_DECAY as NO_DECAY
from ._table import REFUSED as REFUSED
