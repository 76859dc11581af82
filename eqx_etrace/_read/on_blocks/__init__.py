from ._pattern import PatternTooLargeError as PatternTooLargeError
from ._reach import Reach as Reach
from ._sparse import Matrix as Matrix
from ._structure import find_structure as find_structure
from ._structure import Source as Source
from ._structure import Structure as Structure
from ._structure import unfollowed_edges as unfollowed_edges
from ._zero_elements import Zeros as Zeros
