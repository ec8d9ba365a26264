"""What a task is: one application, described once for the command line, Python, HTTP and judging.

A task says its fields, how a model is asked (a chat's message, a prompt to go on with, the source
of an encoder-decoder, or a head that needs no words), how it writes, what is made of the text, and
which metrics judge it. To add one: a file like `summarization.py`, a line in `llmos.tasks.TASKS`,
a test.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Literal

from llmos.errors import UsageError
from llmos.models.engines.engine import Decoding
from llmos.tasks.languages import WORDS

if TYPE_CHECKING:
    from llmos.tasks.runner import Runner

Inputs = Mapping[str, str]
"""The texts of a task's fields by name."""
How = Literal["chat", "prompt", "source", "head"]
"""As an answer to a chat, as the continuation of a prompt, by an encoder-decoder from a source, or
by a head that writes no text."""


@dataclass(frozen=True, kw_only=True)
class Field:
    """A part of the input. default: None where it must be given."""

    name: str
    about: str
    kind: Literal["text", "long_text", "language", "list", "messages"] = "text"
    default: str | None = None


@dataclass(frozen=True, kw_only=True)
class Example:
    """An input and what a good model makes of it."""

    inputs: Inputs
    output: str


@dataclass(frozen=True, kw_only=True)
class Options:
    """How a task is run.

    language: of the instructions, as a code; "": that of the text. decoding: settings of `Decoding`
    that differ from the task's.
    """

    language: str = ""
    decoding: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Result:
    """What a task gives for one input.

    text: to be read, and judged by the task's metrics; values: the same as structure; windows: into
    how many parts a long input was cut; finish: "length" where a limit cut the text, else "stop".
    """

    text: str
    values: Mapping[str, Any] = field(default_factory=dict)
    how: How
    windows: int = 1
    finish: str = "stop"
    prompt_tokens: int = 0
    new_tokens: int = 0

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Plan:
    """The parts that one input is written in, and what stands before each part of the result.

    prompt_tokens, new_tokens: what the model read and wrote to make the plan.
    """

    parts: tuple[Inputs, ...]
    before: tuple[str, ...]
    windows: int = 1
    prompt_tokens: int = 0
    new_tokens: int = 0


@dataclass(frozen=True, kw_only=True)
class Task:
    """An application.

    fields: the first one is what a command takes as its argument. chat: the user's message, by
    language of the instructions. prompt: for a decoder that was made for no chats, ended at
    `prompt_stop`. source: for an encoder-decoder that was trained on several tasks, as T5 (arXiv
    1910.10683, appendix D). share: of the context that is kept for the new text, at most
    `decoding.max_new_tokens`. plan, answer: see `planning`; a task with an `answer` of its own may
    have no plan. parse: the text and its structure from what the model wrote. metrics: names of
    `llmos.metrics`.
    """

    name: str
    command: str
    about: str
    fields: tuple[Field, ...]
    chat: Mapping[str, str]
    prompt: str
    source: str
    decoding: Decoding
    metrics: tuple[str, ...]
    example: Example
    answer: Callable[[Runner, Sequence[Inputs]], list[Result]]
    plan: Callable[[Runner, Sequence[Inputs]], list[Plan]] | None = None
    parse: Callable[[str, Inputs], tuple[str, Mapping[str, Any]]] = lambda text, _: (
        text.strip(),
        {},
    )
    words: Callable[[Inputs, str], Mapping[str, str]] = lambda inputs, language: {}
    prompt_stop: tuple[str, ...] = ()
    share: float = 0.25
    is_streamed: bool = True

    @property
    def main(self) -> Field:
        """The field that a command takes as its argument."""
        return self.fields[0]

    @property
    def long(self) -> Field:
        """The field that may be long."""
        return next((one for one in self.fields if one.kind == "long_text"), self.fields[0])

    def values(self, inputs: Inputs, language: str) -> dict[str, str]:
        """What stands in the places of a template, for instructions in a language."""
        return {**WORDS[language], **inputs, **self.words(inputs, language)}

    def complete(self, inputs: Inputs) -> dict[str, str]:
        """`inputs` with the defaults. Raises `UsageError` for fields unknown or missing."""
        names = [one.name for one in self.fields]
        for name, value in inputs.items():
            if name not in names:
                near = get_close_matches(name, names, 1)
                hint = f"did you mean {near[0]}?" if near else f"it has {', '.join(names)}"
                raise UsageError(f"{self.name} has no field {name!r}: {hint}")
            if not isinstance(value, str):
                kind = type(value).__name__
                raise UsageError(f"{self.name}'s {name} is a {kind}, not a text: give a text")
            try:
                value.encode()
            except UnicodeEncodeError as error:
                raise UsageError(f"{self.name}'s {name} is not UTF-8: give it as UTF-8") from error
        found = {one.name: inputs.get(one.name, one.default) for one in self.fields}
        missing = [f"{one.name!r} ({one.about})" for one in self.fields if found[one.name] is None]
        if missing:
            raise UsageError(f"{self.name} lacks {', '.join(missing)}: give it")
        for one in self.fields:
            if one.default is None and not (found[one.name] or "").strip():
                raise UsageError(f"{self.name}'s {one.name} is empty: give a text")
        return {name: value for name, value in found.items() if value is not None}
