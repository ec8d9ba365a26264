"""What the server's paths share: the models, the settings, and how their texts are answered."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import Request
from starlette.responses import Response

from llmos.models.engines.engine import Engine, Piece
from llmos.models.engines.engine import Request as Wanted
from llmos.serving.answers import EventStream, Form, all_of, stream, whole_answer
from llmos.serving.errors import APIError, json_response
from llmos.serving.fingerprints import fingerprint
from llmos.serving.leaving import until_gone
from llmos.serving.metrics import Metrics
from llmos.serving.reading import Reader
from llmos.serving.requests import DEFAULT_TOKENS, ChatRequest, CompletionRequest, Writing
from llmos.tasks.task import Result


@dataclass(frozen=True, kw_only=True)
class Settings:
    """keys: none, and everybody may ask; per_minute: requests of each key or address, 0: any;

    seconds: that a text may take; body_seconds: that a client may take to send a small request
    (`limits.LEAST_RATE`: a larger one); watermark: every text gets one, asked for or not.
    """

    keys: frozenset[str] = frozenset()
    per_minute: int = 0
    most_bytes: int = 4 << 20
    seconds: float = 300.0
    body_seconds: float = 20.0
    watermark: bool = False


class Server:
    """What the paths share."""

    def __init__(self, engines: Mapping[str, Engine], settings: Settings) -> None:
        self.engines, self.settings = engines, settings
        self.metrics = Metrics(engines)
        self.fingerprints = {name: fingerprint(engine) for name, engine in engines.items()}
        self.begun = int(time.time())

    def engine(self, name: str) -> Engine:
        found = self.engines.get(name)
        if found is None:
            raise APIError(
                f"there is no model {name[:100]!r}: take one of {', '.join(self.engines)}",
                status=404,
                code="model_not_found",
                param="model",
            )
        return found

    def count(self, name: str, result: Result) -> None:
        """Note what a task read and wrote."""
        self.metrics.prompt_tokens.labels(name).inc(result.prompt_tokens)
        self.metrics.new_tokens.labels(name).inc(result.new_tokens)

    def record(self, name: str) -> dict[str, Any]:
        """A model as the list shows it; `max_model_len` is vLLM's, `kind`, `fingerprint` ours."""
        return {
            "id": name,
            "object": "model",
            "created": self.begun,
            "owned_by": "llmos",
            "kind": self.engine(name).kind,
            "fingerprint": self.fingerprints[name],
            "max_model_len": self.engine(name).context_length,
        }

    def wanted(self, engine: Engine, body: CompletionRequest) -> list[Wanted]:
        """What a completion asks of its engine: `n` texts of each prompt."""
        limit = new_tokens(body.max_tokens, DEFAULT_TOKENS, engine)
        return [
            Wanted(
                prompt=prompt,
                decoding=body.decoding(number, limit, body.logprobs, self.settings.watermark),
            )
            for prompt in body.prompts()
            for number in range(body.n)
        ]

    def wanted_chat(self, engine: Engine, body: ChatRequest) -> list[Wanted]:
        """What a chat asks of its engine: `n` answers."""
        limit = new_tokens(body.max_completion_tokens or body.max_tokens, 0, engine)
        logprobs = (body.top_logprobs or 0) if body.logprobs else None
        messages = body.all_messages()
        return [
            Wanted(
                messages=messages,
                decoding=body.decoding(number, limit, logprobs, self.settings.watermark),
            )
            for number in range(body.n)
        ]

    async def pieces(self, engine: Engine, body: Writing, wanted: Sequence[Wanted]) -> list[Piece]:
        """All texts, each as one piece."""
        seconds, readers = self.settings.seconds, list[Reader]()
        try:
            for one in wanted:
                readers.append(Reader(engine, body.model, one, self.metrics, seconds))
            return list(await asyncio.gather(*map(all_of, readers)))
        finally:
            for reader in readers:
                reader.close()

    async def answer(
        self,
        request: Request,
        body: Writing,
        form: Form,
        wanted: Sequence[Wanted],
    ) -> Response:
        """The texts of all prompts, `n` of each, at once or as a stream."""
        engine = self.engine(body.model)
        seconds, readers = self.settings.seconds, list[Reader]()

        def close() -> None:
            for reader in readers:
                reader.close()

        try:
            for one in wanted:
                readers.append(Reader(engine, body.model, one, self.metrics, seconds))
            prompts = len(wanted) // body.n
            if body.stream:
                events = stream(form, readers, prompts, body.with_usage)
                return EventStream(events, close, seconds)
            return json_response(await until_gone(request, whole_answer(form, readers, prompts)))
        except BaseException:
            close()
            raise


def new_tokens(asked: int | None, default: int, engine: Engine) -> int:
    return asked or default or engine.context_length or 1 << 20
