from ._from_nir import from_nir as from_nir
from ._network import Network as Network
from ._network import Sum as Sum
from ._network import Wire as Wire
from ._recipes import NoRecipeError as NoRecipeError
from ._to_nir import to_nir as to_nir
