"""Random steps, as data: a program can be printed, copied into a test and run again."""

from .draw import programs as programs
from .draw import reduced as reduced
from .program import New as New
from .program import Op as Op
from .program import Program as Program
