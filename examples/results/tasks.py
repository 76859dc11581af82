"""All tasks by name, in the order of the page."""

from evidence import EVIDENCE
from harness import Task

TASKS: dict[str, Task] = {task.name: task for task in (EVIDENCE,)}
