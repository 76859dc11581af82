from ._apart import taken_apart
from ._boxes import Places
from ._check import check_loops
from ._hints import naming_leaks
from ._impure import check_pure
from ._pytree import Layout, Path
from ._step import stage_step, Step
