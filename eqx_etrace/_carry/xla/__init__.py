from ._each import for_each as for_each
from ._in_place import after as after
from ._regular_gather import take as take
from ._regular_gather import take_rows as take_rows
from ._small_dots import apply_blocks as apply_blocks
from ._small_dots import scale_blocks as scale_blocks
from ._small_dots import through_blocks as through_blocks
from ._small_dots import written_out as written_out
