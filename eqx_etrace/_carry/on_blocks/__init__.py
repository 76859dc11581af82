from ._influence import as_scalars as as_scalars
from ._influence import Entries as Entries
from ._influence import entries as entries
from ._influence import Influence as Influence
from ._influence import make_influence as make_influence
