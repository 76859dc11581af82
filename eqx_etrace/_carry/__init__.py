from .._times import times
from ._head import FactoredShare
from ._transition import filter_signals, Signal, Transition, Transitions
from .by_position import Drive, Jacobians, linearise, OfTail, taps_of, TraceLayout, When, Window
from .on_blocks import (
    block_drives,
    BlockDrive,
    BlockLayout,
    is_spoiled,
    make_span,
    Passes,
    ProductLayout,
    PullNew,
    Span,
    window_drives,
)
from .rules import (
    AbstractBlockRule,
    AbstractKeeper,
    AbstractPositionRule,
    AbstractRule,
    as_bytes,
    BlockKeeper,
    check_limits,
    DRTRL,
    EProp,
    KFRTRL,
    Layouts,
    NoTrace,
    OK,
    OSTL,
    OTPE,
    OTTT,
    PPProp,
    RFLO,
    RTRL,
    Share,
    shown,
    SnAp,
    TraceTooLargeError,
    UORO,
    Weight,
)
from .xla import after, for_each, rarely, written_out
