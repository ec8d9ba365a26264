"""The turns of a conversation: read, shortened, and written out for models made for no chats."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

from llmos.errors import UsageError
from llmos.models.engines.engine import Message
from llmos.tasks.languages import WORDS

ROLES = ("system", "user", "assistant")
TURN = 2
"""Tokens that a turn has beside its text: its role and its end."""


def read_turns(text: str) -> tuple[dict[str, str], ...]:
    """A JSON list of {"role", "content"}; "" is none. Raises `UsageError` for another text."""
    if not text.strip():
        return ()
    advice = 'write [{"role": "user", "content": "..."}, ...]'
    try:
        turns = json.loads(text)
    except ValueError as error:
        raise UsageError(f"the history is not JSON ({error}): {advice}") from error
    if not isinstance(turns, list):
        raise UsageError(f"the history is no list: {advice}")
    for turn in turns:
        is_turn = isinstance(turn, dict) and set(turn) == {"role", "content"}
        if not (is_turn and turn["role"] in ROLES and isinstance(turn["content"], str)):
            raise UsageError(f"the history holds {str(turn)[:60]!r}: {advice}")
    return tuple(turns)


def write_turns(turns: Sequence[Message]) -> str:
    """As `read_turns` reads them."""
    return json.dumps([dict(turn) for turn in turns], ensure_ascii=False)


def transcript(turns: Sequence[Message], language: str) -> str:
    """The turns as a text, a line each."""
    heads = {"user": WORDS[language]["User"], "assistant": WORDS[language]["Assistant"]}
    lines = [
        f"{heads[turn['role']]}: {turn['content']}" if turn["role"] in heads else turn["content"]
        for turn in turns
    ]
    return "".join(f"{line}\n" for line in lines)


def latest(turns: Sequence[Message], size: int, count: Callable[[str], int]) -> tuple[Message, ...]:
    """The last turns of at most `size` tokens that begin with a user's, after the system's."""
    system = [turn for turn in turns if turn["role"] == "system"]
    rest = [turn for turn in turns if turn["role"] != "system"]
    left = size - sum(count(turn["content"]) + TURN for turn in system)
    kept: list[Message] = []
    for turn in reversed(rest):
        left -= count(turn["content"]) + TURN
        if left < 0:
            break
        kept.insert(0, turn)
    while kept and kept[0]["role"] != "user":
        kept.pop(0)
    return (*system, *kept)
