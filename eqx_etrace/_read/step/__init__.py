from ._callbacks import check_answers
from ._check import check_loops
from ._mutable import check_references
from ._pytree import Layout, Path
from ._step import stage_step, Step
