from ._analysis import Analysis, ParamRelation
from ._best_reading import analyse
from ._effective_weights import Use
from ._exactness import UNUSED
from ._recipe import without_address
from .by_position import (
    Cut,
    Edge,
    Filter,
    HiddenGroup,
    holomorphic_pairs,
    read_by,
    Rows,
    rows_of,
    Site,
    Tail,
    with_readers,
)
from .on_blocks import Matrix, PatternTooLargeError, Reach, Source, Structure, unfollowed_edges, Zeros
from .primitives import Contraction, DOT
from .program import (
    at_rows,
    dependence,
    elements,
    Equation,
    evaluate,
    find_lookup,
    flatten,
    linear_operands,
    NONE,
    pick,
    Positions,
    Program,
    Runnable,
    union,
)
from .step import Layout, naming_leaks, Path, stage_step, Step
