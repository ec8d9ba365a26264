"""Pieces of text as OpenAI's API tells them: whole answers, and chunks of a stream."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from llmos.models.engines.engine import Piece
from llmos.models.engines.submitting import joined
from llmos.serving.errors import told
from llmos.serving.reading import Reader

GRACE = 10.0
"""Seconds that a reader has to take the rest of a text that is written."""


@dataclass
class Form:
    """How one kind of answer looks."""

    model: str
    prefix: str
    whole: str
    chunk: str
    is_chat: bool
    id: str = ""
    created: int = field(default_factory=lambda: int(time.time()))

    def __post_init__(self) -> None:
        self.id = f"{self.prefix}-{uuid.uuid4().hex}"

    def head(self, kind: str) -> dict[str, Any]:
        return {"id": self.id, "object": kind, "created": self.created, "model": self.model}

    def choice(self, index: int, piece: Piece, *, is_chunk: bool, offset: int = 0) -> Any:
        """One text, or a piece of it. `offset`: characters before it."""
        logprobs = _chat_logprobs(piece) if self.is_chat else _logprobs(piece, offset)
        found = {
            "index": index,
            "logprobs": logprobs if piece.logprobs else None,
            "finish_reason": piece.finish or None,
        }
        if not self.is_chat:
            return {"text": piece.text, **found}
        if is_chunk:
            return {"delta": {"content": piece.text} if piece.text else {}, **found}
        return {"message": {"role": "assistant", "content": piece.text, "refusal": None}, **found}


def completion_form(model: str) -> Form:
    return Form(model, "cmpl", "text_completion", "text_completion", False)


def chat_form(model: str) -> Form:
    return Form(model, "chatcmpl", "chat.completion", "chat.completion.chunk", True)


def usage_of(last: Sequence[Piece], prompts: int) -> dict[str, int]:
    """Of the last pieces of all texts. A prompt counts once, however many texts it has."""
    each = max(1, len(last) // max(1, prompts))
    read = sum(piece.prompt_tokens for piece in last[::each])
    written = sum(piece.new_tokens for piece in last)
    return {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}


async def whole_answer(form: Form, readers: Sequence[Reader], prompts: int) -> dict[str, Any]:
    """The answer when all texts are written."""
    pieces = await asyncio.gather(*(all_of(reader) for reader in readers))
    choices = [form.choice(i, piece, is_chunk=False) for i, piece in enumerate(pieces)]
    return {**form.head(form.whole), "choices": choices, "usage": usage_of(pieces, prompts)}


async def all_of(reader: Reader) -> Piece:
    """A text as one piece."""
    return joined([piece async for piece in reader.pieces()])


async def stream(
    form: Form, readers: Sequence[Reader], prompts: int, with_usage: bool
) -> AsyncIterator[bytes]:
    """Server-sent events (the WHATWG's HTML standard, section 9.2)."""
    head = form.head(form.chunk)
    last: dict[int, Piece] = {}
    offsets = [0] * len(readers)
    try:
        if form.is_chat:
            for index in range(len(readers)):
                delta = {"role": "assistant", "content": ""}
                yield _event(
                    {
                        **head,
                        "choices": [
                            {
                                "index": index,
                                "delta": delta,
                                "logprobs": None,
                                "finish_reason": None,
                            }
                        ],
                    }
                )
        async for index, piece in _merged(readers):
            choice = form.choice(index, piece, is_chunk=True, offset=offsets[index])
            offsets[index] += len(piece.text)
            yield _event({**head, "choices": [choice]})
            if piece.finish:
                last[index] = piece
        if with_usage:
            ordered = [last[index] for index in sorted(last)]
            yield _event({**head, "choices": [], "usage": usage_of(ordered, prompts)})
    except Exception as error:  # the answer has begun: the error is an event of it
        yield _event(told(error).body)
    yield b"data: [DONE]\n\n"


async def _merged(readers: Sequence[Reader]) -> AsyncIterator[tuple[int, Piece]]:
    """The pieces of all texts, as they come."""
    if len(readers) == 1:
        async for piece in readers[0].pieces():
            yield 0, piece
        return
    queue: asyncio.Queue[tuple[int, Piece | Exception | None]] = asyncio.Queue()

    async def read(index: int, reader: Reader) -> None:
        try:
            async for piece in reader.pieces():
                queue.put_nowait((index, piece))
            queue.put_nowait((index, None))
        except Exception as error:  # handed on
            queue.put_nowait((index, error))

    tasks = [asyncio.create_task(read(*item)) for item in enumerate(readers)]
    try:
        left = len(tasks)
        while left:
            index, item = await queue.get()
            if isinstance(item, Exception):
                raise item
            if item is None:
                left -= 1
            else:
                yield index, item
    finally:
        for task in tasks:
            task.cancel()


def _event(body: Any) -> bytes:
    return b"data: " + orjson.dumps(body) + b"\n\n"


class EventStream(StreamingResponse):
    """A stream that ends the writing when its reader has gone, or is too slow."""

    def __init__(
        self, content: AsyncIterator[bytes], close: Callable[[], None], seconds: float
    ) -> None:
        super().__init__(content, media_type="text/event-stream")
        self.headers["Cache-Control"] = "no-cache"
        self._close, self._seconds = close, seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            async with asyncio.timeout(self._seconds + GRACE):
                await super().__call__(scope, receive, send)
        except TimeoutError:
            return  # the server closes a connection whose answer is not complete
        finally:
            self._close()


def _chat_logprobs(piece: Piece) -> dict[str, Any]:
    def one(token: str, logprob: float) -> dict[str, Any]:
        return {"token": token, "logprob": logprob, "bytes": list(token.encode())}

    content = [
        {**one(t.token, t.logprob), "top_logprobs": [one(*pair) for pair in t.top]}
        for t in piece.logprobs
    ]
    return {"content": content, "refusal": None}


def _logprobs(piece: Piece, offset: int) -> dict[str, Any]:
    offsets = []
    for token in piece.logprobs:
        offsets.append(offset)
        offset += len(token.token)
    return {
        "tokens": [t.token for t in piece.logprobs],
        "token_logprobs": [t.logprob for t in piece.logprobs],
        "top_logprobs": [dict(t.top) for t in piece.logprobs],
        "text_offset": offsets,
    }
