from ._each import for_each
from ._in_place import after
from ._pieces import Pieces
from ._rarely import rarely
from ._regular_gather import take, take_rows
from ._small_dots import apply_blocks, contract_blocks, scale_blocks, through_blocks, written_out
