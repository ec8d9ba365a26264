"""How tasks that write texts go about it: plan the parts, write all parts at once, put together."""

from __future__ import annotations

from collections.abc import Sequence

from llmos.models.engines.engine import Piece
from llmos.tasks.runner import Runner
from llmos.tasks.task import Inputs, Plan, Result


def in_one(runner: Runner, many: Sequence[Inputs]) -> list[Plan]:
    """Each input as it is."""
    return [Plan((inputs,), ("",)) for inputs in many]


def written(runner: Runner, many: Sequence[Inputs]) -> list[Result]:
    """The parts of all plans in one go, so that the engine can batch parts of like length."""
    plan = runner.task.plan or in_one
    plans = plan(runner, many)
    pieces = iter(runner.write([part for one in plans for part in one.parts]))
    return [
        put_together(runner, inputs, one, [next(pieces) for _ in one.parts])
        for inputs, one in zip(many, plans, strict=True)
    ]


def put_together(runner: Runner, inputs: Inputs, plan: Plan, pieces: Sequence[Piece]) -> Result:
    """The result of one input from the texts of its parts."""
    texts = [runner.task.parse(piece.text, inputs) for piece in pieces]
    text = "".join(before + text for before, (text, _) in zip(plan.before, texts, strict=True))
    values = texts[0][1] if len(texts) == 1 else {}
    return Result(
        text=text,
        values=values,
        how=runner.how,
        windows=plan.windows,
        finish="length" if any(piece.finish == "length" for piece in pieces) else "stop",
        prompt_tokens=plan.prompt_tokens + sum(piece.prompt_tokens for piece in pieces),
        new_tokens=plan.new_tokens + sum(piece.new_tokens for piece in pieces),
    )
