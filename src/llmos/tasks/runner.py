"""A task at an engine: inputs become requests, in the form that the model was made for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, replace
from difflib import get_close_matches

from llmos.errors import UsageError
from llmos.models.engines.engine import Decoding, Engine, Message, Piece, Request, UnsupportedError
from llmos.tasks.conventions import conventions_of, fill
from llmos.tasks.languages import asked_in, required
from llmos.tasks.task import How, Inputs, Options, Task
from llmos.tasks.turns import TURN, read_turns, transcript

MOST = 4
"""Tokens that a character may have: the bytes of it in UTF-8."""
SPARE = 8
"""Tokens left free beside a text and its words: role tokens, ends, cuts that fall otherwise."""


class Runner:
    """Asks one engine about one task.

    A decoder is asked in a chat; where its engine says that it was made for none, by a prompt.
    Raises `UsageError` for options that do not fit.
    """

    def __init__(self, task: Task, engine: Engine, options: Options) -> None:
        self.task, self.engine, self.options = task, engine, options
        self.decoding = _decoding(task.decoding, options.decoding)
        self.how: How = "source" if engine.kind == "encoder-decoder" else "chat"
        self._conventions = conventions_of(engine)
        self._can_chat: bool | None = None
        self._has_logprobs = True

    def language(self, inputs: Inputs) -> str:
        """In which language the model is asked."""
        if self.options.language:
            return required(self.options.language)
        return asked_in(inputs[self.task.long.name] or inputs[self.task.main.name])

    def values(self, inputs: Inputs) -> dict[str, str]:
        """What stands in the places of a template."""
        return self.task.values(inputs, self.language(inputs))

    def request(self, inputs: Inputs, how: How, *, logprobs: int | None = None) -> Request:
        """The request in a form. A text that is left no room is the engine's to refuse."""
        decoding = replace(self.decoding, logprobs=logprobs)
        turns = read_turns(inputs.get("history", ""))
        text = fill(self._template(how, inputs), self.values(inputs))
        limit = self._room(text, turns)
        if limit is not None:
            decoding = replace(decoding, max_new_tokens=max(1, min(limit, self._new_tokens)))
        if how == "chat":
            return Request(messages=(*turns, {"role": "user", "content": text}), decoding=decoding)
        text = transcript(turns, self.language(inputs)) + text
        if how == "prompt":
            stop = (*decoding.stop, *(fill(s, self.values(inputs)) for s in self.task.prompt_stop))
            decoding = replace(decoding, stop=stop)
        return Request(prompt=text, decoding=decoding)

    def write(self, many: Sequence[Inputs], *, logprobs: int | None = None) -> list[Piece]:
        """What the model writes for each, all in one go, so that the engine can batch them.

        `logprobs` are left out where the engine has none. Raises `UnsupportedError` for a model
        that writes no text.
        """
        self._require_writer()
        wanted = logprobs if self._has_logprobs else None
        for attempt in (wanted, None):
            for how in self._forms():
                requests = [self.request(inputs, how, logprobs=attempt) for inputs in many]
                try:
                    pieces = self.engine.write(requests)
                except UnsupportedError as error:
                    failure = error
                    continue
                self._settle(how)
                self._has_logprobs = self._has_logprobs and attempt == wanted
                return pieces
        raise failure

    def stream(self, inputs: Inputs) -> Iterator[Piece]:
        """As `write`, of one input, piece by piece."""
        self._require_writer()
        for how in self._forms():
            pieces = self.engine.stream(self.request(inputs, how))
            try:
                first = next(pieces)
            except UnsupportedError as error:
                failure = error
                continue
            except StopIteration:
                return
            self._settle(how)
            yield first
            yield from pieces
            return
        raise failure

    def count(self, text: str) -> int:
        """Tokens; where the engine cannot count, more of them than there are likely to be."""
        try:
            return self.engine.count_tokens(text)
        except UnsupportedError:
            return len(text.encode()) // 2 + 1

    def room_for(self, inputs: Inputs, name: str) -> int | None:
        """How many tokens the field `name` may have beside the others; None: no limit.

        Raises `UsageError` where they leave it no room.
        """
        if not self.engine.context_length:
            return None
        if self.engine.kind == "encoder":
            others = [value for field, value in inputs.items() if field != name]
            left = self.engine.context_length - SPARE - sum(map(self.count, others))
        else:
            rest = {**inputs, name: ""}
            values = {**self.values(inputs), name: ""}
            words = self.count(fill(self._template(self.how, rest), values))
            left = self.engine.context_length - words - SPARE
            if self.engine.kind == "decoder":
                left -= min(self._new_tokens, int(left * self.task.share))
        if left < 1:
            raise UsageError(
                f"the model's context of {self.engine.context_length} tokens leaves {name} no room "
                "beside the rest: shorten the rest, or use a model with a longer context"
            )
        return left

    @property
    def _new_tokens(self) -> int:
        return self.decoding.max_new_tokens

    def _template(self, how: How, inputs: Inputs) -> str:
        own = self._conventions.templates.get(self.task.name)
        if own is not None:
            return own
        if how == "source":
            return f"{{{self.task.main.name}}}" if self._is_bare else self.task.source
        return self.task.prompt if how == "prompt" else self.task.chat[self.language(inputs)]

    @property
    def _is_bare(self) -> bool:
        # Several texts need words between them, whatever the model was trained on.
        needed = [one for one in self.task.fields if one.kind in ("text", "long_text")]
        return self._conventions.is_bare and len(needed) == 1

    def _room(self, text: str, turns: Sequence[Message]) -> int | None:
        """New tokens that fit behind a text and the turns before it."""
        if self.engine.kind != "decoder" or not self.engine.context_length:
            return None
        characters = len(text) + sum(len(turn["content"]) + TURN for turn in turns)
        if MOST * characters + self._new_tokens + SPARE <= self.engine.context_length:
            return None  # need not be counted: an engine behind a URL has to be asked
        before = sum(self.count(turn["content"]) + TURN for turn in turns)
        return self.engine.context_length - before - self.count(text) - SPARE

    def _forms(self) -> tuple[How, ...]:
        if self.how == "source" or self._can_chat is not None:
            return (self.how,)
        return ("chat", "prompt")

    def _settle(self, how: How) -> None:
        self.how, self._can_chat = how, how == "chat"

    def _require_writer(self) -> None:
        if self.engine.kind == "encoder":
            raise UnsupportedError(
                f"{self.engine.name} is an encoder without a head for {self.task.name}: use a "
                "model that writes, or one that was fine-tuned for it"
            )


def _decoding(default: Decoding, changes: Mapping[str, object]) -> Decoding:
    names = [one.name for one in fields(Decoding)]
    for name in changes:
        if name not in names:
            near = get_close_matches(name, names, 1)
            hint = f"did you mean {near[0]}?" if near else f"use {', '.join(names)}"
            raise UsageError(f"decoding has no setting {name!r}: {hint}")
    found = replace(default, **changes)  # type: ignore[arg-type]
    ranges = {
        "max_new_tokens": (1, 1 << 20),
        "num_beams": (1, 100),
        "temperature": (0, 100),
        "seed": (-(1 << 63), (1 << 63) - 1),  # torch's
    }
    for name, (least, most) in ranges.items():
        value = getattr(found, name)
        if value is not None and not least <= value <= most:
            raise UsageError(f"{name} {value} is out of range: use {least:,} to {most:,}")
    return found
