"""Run a task: many inputs in batches, or one of them as it is written.

engine = open_engine("runs/gpt")
results = run(TASKS["translation"], engine, [{"text": "Good morning.", "to": "fr"}])
"""

from __future__ import annotations

from collections.abc import Generator, Sequence

from llmos.models.engines.engine import Engine, Piece
from llmos.tasks.planning import in_one, put_together
from llmos.tasks.runner import Runner
from llmos.tasks.task import Inputs, Options, Result, Task

NO_OPTIONS = Options()


def run(
    task: Task, engine: Engine, inputs: Sequence[Inputs], options: Options = NO_OPTIONS
) -> list[Result]:
    """The result of each input, in their order.

    Raises `UsageError` for inputs or options that do not fit the task, `UnsupportedError` for a
    model that cannot do it.
    """
    completed = [task.complete(one) for one in inputs]
    return task.answer(Runner(task, engine, options), completed) if completed else []


def stream(
    task: Task, engine: Engine, inputs: Inputs, options: Options = NO_OPTIONS
) -> Generator[str, None, Result]:
    """The text of one result as it is written; the generator returns the whole `Result`.

    A long translation comes part after part, a summary when the parts before it are summarised. A
    text that has to be whole before it is of use (code, labels, answers) comes at once. Raises as
    `run`.
    """
    completed = task.complete(inputs)
    runner = Runner(task, engine, options)
    if not task.is_streamed or engine.kind == "encoder":
        (result,) = task.answer(runner, [completed])
        yield result.text
        return result
    (plan,) = (task.plan or in_one)(runner, [completed])
    pieces: list[Piece] = []
    for part, before in zip(plan.parts, plan.before, strict=True):
        text, last = "", Piece("")
        for last in runner.stream(part):
            # What is in front is taken off by every such task; blanks behind only once they end.
            new = last.text if text else last.text.lstrip()
            if new:
                yield new if text else before + new
            text += new
        pieces.append(Piece(text, (), last.finish, last.prompt_tokens, last.new_tokens))
    return put_together(runner, completed, plan, pieces)
