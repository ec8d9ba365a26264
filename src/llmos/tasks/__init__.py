"""Applications: one file says all of a task; here are their names, and a call for each (`calls`).

llmos.tasks.translate("runs/translation", "Good morning.", to="zh").text
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from llmos.tasks.coding import CODE
from llmos.tasks.creative_writing import CREATIVE_WRITING
from llmos.tasks.dialogue import DIALOGUE
from llmos.tasks.question_answering import QUESTION_ANSWERING
from llmos.tasks.sentiment import SENTIMENT
from llmos.tasks.summarization import SUMMARIZATION
from llmos.tasks.task import Task
from llmos.tasks.translation import TRANSLATION

_ALL = (
    TRANSLATION, SUMMARIZATION, QUESTION_ANSWERING, DIALOGUE, SENTIMENT, CODE, CREATIVE_WRITING,
)  # fmt: skip
TASKS: dict[str, Task] = {task.name: task for task in _ALL}
COMMANDS: dict[str, Task] = {task.command: task for task in TASKS.values()}
"""The tasks by the names of their commands and calls."""


def __getattr__(name: str) -> Callable[..., Any]:
    if name not in COMMANDS:
        raise AttributeError(f"module 'llmos.tasks' has no attribute {name!r}")
    from llmos.tasks.calls import call

    return partial(call, COMMANDS[name])


def __dir__() -> list[str]:
    return sorted({*globals(), *COMMANDS})
