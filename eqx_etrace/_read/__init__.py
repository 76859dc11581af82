from ._analysis import analyse, Analysis, ParamRelation
from ._effective_weights import Use
from .by_position import Cut, Edge, HiddenGroup, holomorphic_pairs, Site, Tail
from .on_blocks import Matrix, PatternTooLargeError, Reach, Source, Structure, unfollowed_edges, Zeros
from .primitives import Contraction, DOT
from .program import dependence, Equation, evaluate, flatten, NONE, Positions, Program, Runnable, union
from .step import Layout, Path, stage_step, Step
