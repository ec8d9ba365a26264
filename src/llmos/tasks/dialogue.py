"""Dialogue: the next answer in a conversation, given the turns before it, as many as fit."""

from __future__ import annotations

from collections.abc import Sequence

from llmos.models.engines.engine import Decoding
from llmos.tasks.planning import written
from llmos.tasks.runner import Runner
from llmos.tasks.task import Example, Field, Inputs, Plan, Task
from llmos.tasks.turns import latest, read_turns, write_turns


def _plan(runner: Runner, many: Sequence[Inputs]) -> list[Plan]:
    """The earliest turns are left out where all of them do not fit."""
    plans = []
    for inputs in many:
        size = runner.room_for(inputs, "history")
        turns = read_turns(inputs["history"])
        kept = turns if size is None else latest(turns, size, runner.count)
        plans.append(Plan(({**inputs, "history": write_turns(kept)},), ("",)))
    return plans


DIALOGUE = Task(
    name="dialogue",
    command="chat",
    about="Answer in a conversation.",
    fields=(
        Field(name="text", about="what you say"),
        Field(
            name="history",
            about="the turns before: a JSON list of role and content",
            kind="messages",
            default="",
        ),
    ),
    chat=dict.fromkeys(("en", "zh", "fr", "es", "de", "sw", "id", "ja", "ar"), "{text}"),
    prompt="{User}: {text}\n{Assistant}:",
    prompt_stop=("\n{User}:", "\n\n"),
    source="{text}",
    decoding=Decoding(max_new_tokens=256),
    metrics=("chrf", "bleu"),
    example=Example(
        inputs={"text": "Hello! What can I cook with lentils?"},
        output="A soup: fry an onion, add the lentils, carrots and water, and let it simmer.",
    ),
    plan=_plan,
    answer=written,
)
