from ._jacobian import as_scalars, block_drives, BlockDrive, PullNew
from ._layout import BlockLayout, make_block_layout
from ._numbers import advance_influence, contract_influence, entered_rows, zero_influence
from ._window import is_spoiled, make_span, Span, through_window, window_drives
