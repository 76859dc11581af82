from ._layers import find_layers
from ._pattern import PatternTooLargeError
from ._reach import Reach
from ._sparse import Matrix
from ._structure import find_structure, Source, Structure, unfollowed_edges
from ._zero_elements import Zeros
