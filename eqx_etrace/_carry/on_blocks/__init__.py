from ._jacobian import as_scalars, block_drives, BlockDrive, PullNew
from ._layout import BlockLayout, make_block_layout
from ._numbers import advance_influence, contract_influence, entered_rows, in_order, on_slots, zero_influence
from ._passes import Passes
from ._product_layout import make_product_layout, ProductLayout
from ._window import is_spoiled, make_span, Span, through_window, window_drives
