"""All tasks by name, in the order of the page."""

from digits import DIGITS
from evidence import EVIDENCE
from harness import Task
from match import MATCH

TASKS: dict[str, Task] = {task.name: task for task in (DIGITS, MATCH, EVIDENCE)}
