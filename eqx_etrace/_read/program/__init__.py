from ._constant import constant_value
from ._dependence import carries_into, dependence, fixed_by, leading_to, union
from ._detour import without_detours
from ._edited import made_first, made_last, Rewriting, with_fresh_outputs, without_derivative
from ._flow import entered
from ._inline import flatten
from ._linear import is_fixed_map, linear_operands
from ._link import (
    agree,
    Aligned,
    DECIDED,
    Decided,
    deciding,
    indices,
    is_known,
    Link,
    MANY,
    merge,
    Merged,
    Mixed,
    MIXING,
    Mixing,
    Moved,
    NONE,
    Positions,
)
from ._links import has_no_derivative, is_collective, Links, meets_data
from ._pick import at_rows, elements, pick
from ._program import Equation, evaluate, is_function, Program, Runnable, UNKNOWN
from ._propagate import by_edge, either, propagate
from ._sameness import classes, sameness
from ._slices import find_lookup, Slices, slices_of
