"""Random steps, as data: a program can be printed, copied into a test and run again."""

from .program import New as New
from .program import Op as Op
from .program import Program as Program
from .program import programs as programs
from .program import reduced as reduced
