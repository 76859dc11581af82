from ._check import check_loops as check_loops
from ._mutable import check_references as check_references
from ._pytree import Layout as Layout
from ._pytree import Path as Path
from ._step import stage_step as stage_step
from ._step import Step as Step
