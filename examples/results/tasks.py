"""All tasks by name, in the order of the page."""

from add import ADD
from chaotic import HENON, LORENZ, MACKEY_GLASS
from decays import DECAYS
from digits import DIGITS
from evidence import EVIDENCE
from harness import Task
from match import MATCH
from maze import MAZE
from pattern import PATTERN
from text import TEXT

TASKS: dict[str, Task] = {
    task.name: task for task in (DIGITS, MATCH, EVIDENCE, PATTERN, MAZE, ADD, HENON, MACKEY_GLASS, LORENZ, TEXT, DECAYS)
}
