"""Who is connected to whom in a brain: from a file, from columns, or at random with the statistics of one.

    fly = connectome.read("connections.csv.gz", least=5)                # a file of FlyWire, neuPrint or your own
    fly = connectome.random(0, *connectome.FLYWIRE)                     # 139,255 units with 15 million connections
    synapses = nn.SparseProjection(fly.source, fly.target, fly.weights(), fly.units)

It is NumPy, because such tables are made once. What comes out is sorted by target.
"""

from ._connectome import Connectome as Connectome
from ._connectome import from_pairs as from_pairs
from ._random import FLYWIRE as FLYWIRE
from ._random import MALE_CNS as MALE_CNS
from ._random import random as random
from ._read import read as read
