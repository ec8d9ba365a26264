"""The server's paths. `create_app` makes it of engines; `cli/serve.py` runs it.

app = create_app({"story": TransformersEngine("model")}, Settings())
"""

from __future__ import annotations

import asyncio
import base64
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.responses import Response

from llmos import __version__
from llmos.errors import LLMOSError
from llmos.models.engines.engine import Engine, Piece
from llmos.models.engines.engine import Request as Wanted
from llmos.serving import invalid
from llmos.serving.answers import (
    EventStream,
    Form,
    all_of,
    chat_form,
    completion_form,
    stream,
    whole_answer,
)
from llmos.serving.echo import echo_answer, echoed
from llmos.serving.errors import APIError, json_response, told
from llmos.serving.fingerprints import fingerprint
from llmos.serving.limits import Limits
from llmos.serving.metrics import Metrics
from llmos.serving.reading import Reader
from llmos.serving.requests import (
    DEFAULT_TOKENS,
    ChatRequest,
    CompletionRequest,
    EmbeddingsRequest,
    Writing,
)
from llmos.serving.tasks import tasks_router
from llmos.tasks.task import Result

log = logging.getLogger(__name__)
T = TypeVar("T")


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
        limit = _new_tokens(body.max_tokens, DEFAULT_TOKENS, engine)
        return [
            Wanted(
                prompt=prompt,
                decoding=body.decoding(number, limit, body.logprobs, self.settings.watermark),
            )
            for prompt in body.prompts()
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


async def until_gone(request: Request, work: Awaitable[T]) -> T:
    """What `work` gives, unless the client goes first. Raises `asyncio.CancelledError` then."""

    async def gone() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    working, going = asyncio.ensure_future(work), asyncio.ensure_future(gone())
    try:
        await asyncio.wait((working, going), return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise APIError("the client has gone", status=499, code="client_closed_request")
        return working.result()
    finally:
        working.cancel()
        going.cancel()


def _new_tokens(asked: int | None, default: int, engine: Engine) -> int:
    return asked or default or engine.context_length or 1 << 20


async def _repeating(server: Server, request: Request, body: CompletionRequest) -> Response:
    """The answer to a completion with `echo`."""
    engine, form = server.engine(body.model), completion_form(body.model)
    prompts = [await echoed(engine, prompt, body.logprobs) for prompt in body.prompts()]
    if body.max_tokens == 0:
        pieces = [Piece("", (), "length", len(tokens)) for _, tokens in prompts]
    else:
        wanted = server.wanted(engine, body)
        pieces = await until_gone(request, server.pieces(engine, body, wanted))
    found = echo_answer(form, prompts, pieces, with_logprobs=body.logprobs is not None)
    return json_response(found)


def create_app(engines: Mapping[str, Engine], settings: Settings | None = None) -> FastAPI:
    """The server of these models, by the names under which they are asked for."""
    settings = settings or Settings()
    server = Server(engines, settings)

    @asynccontextmanager
    async def life(_: FastAPI) -> AsyncIterator[None]:
        yield
        for engine in engines.values():
            if (close := getattr(engine, "close", None)) is not None:
                await run_in_threadpool(close)

    app = FastAPI(title="LLMOS", version=__version__, lifespan=life, docs_url=None, redoc_url=None)
    errors: Any = {
        status: {"description": "An error, in OpenAI's form"}
        for status in ("400", "401", "404", "408", "413", "429", "500", "503", "504")
    }
    streamed: Any = {"200": {"content": {"text/event-stream": {}, "application/json": {}}}}
    # Its own form of these would be documented otherwise.
    errors["422"] = {"description": "Never sent: such errors are 400"}

    app.add_middleware(
        Limits,
        keys=settings.keys,
        per_minute=settings.per_minute,
        most_bytes=settings.most_bytes,
        seconds=settings.body_seconds,
    )
    app.add_middleware(_Counting, metrics=server.metrics)

    @app.exception_handler(RequestValidationError)
    async def of_body(_: Request, error: RequestValidationError) -> Response:
        return invalid.of_validation(error).response()

    @app.exception_handler(HTTPException)
    async def of_http(_: Request, error: HTTPException) -> Response:
        response = invalid.of_http(error).response()
        response.headers.update(error.headers or {})
        return response

    @app.exception_handler(Exception)
    async def any_other(_: Request, error: Exception) -> Response:
        return _answered(error)

    @app.exception_handler(LLMOSError)
    async def of_engines(_: Request, error: LLMOSError) -> Response:
        return _answered(error)

    @app.exception_handler(APIError)
    async def of_ours(_: Request, error: APIError) -> Response:
        return error.response()

    @app.get("/health")
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/metrics", include_in_schema=False)
    async def metrics() -> Response:
        return Response(server.metrics.page(), media_type="text/plain; version=0.0.4")

    @app.get("/v1/models", responses=errors)
    async def models() -> dict[str, Any]:
        return {"object": "list", "data": [server.record(name) for name in engines]}

    @app.get("/v1/models/{model:path}", responses=errors)
    async def model(model: str) -> dict[str, Any]:
        return server.record(model)

    @app.post("/v1/completions", responses=errors | streamed)
    async def completions(request: Request, body: CompletionRequest) -> Response:
        if body.echo:
            return await _told(_repeating(server, request, body))
        wanted = server.wanted(server.engine(body.model), body)
        return await _told(server.answer(request, body, completion_form(body.model), wanted))

    @app.post("/v1/chat/completions", responses=errors | streamed)
    async def chat(request: Request, body: ChatRequest) -> Response:
        engine = server.engine(body.model)
        limit = _new_tokens(body.max_completion_tokens or body.max_tokens, 0, engine)
        logprobs = (body.top_logprobs or 0) if body.logprobs else None
        messages = body.all_messages()
        wanted = [
            Wanted(
                messages=messages,
                decoding=body.decoding(number, limit, logprobs, settings.watermark),
            )
            for number in range(body.n)
        ]
        return await _told(server.answer(request, body, chat_form(body.model), wanted))

    @app.post("/v1/embeddings", responses=errors)
    async def embeddings(body: EmbeddingsRequest) -> Response:
        return await _told(run_in_threadpool(_embedded, server, body))

    app.include_router(tasks_router(server.engine, server.count, errors))
    return app


async def _told(work: Awaitable[Response]) -> Response:
    """The answer, or the error in its place."""
    try:
        return await work
    except Exception as error:
        return _answered(error)


def _answered(error: Exception) -> Response:
    found = told(error)
    if found.status == 500:
        log.error("a request failed", exc_info=error)
    return found.response()


def _embedded(server: Server, body: EmbeddingsRequest) -> Response:
    engine, texts = server.engine(body.model), body.texts()
    sizes = [engine.count_tokens(text) for text in texts]
    if engine.context_length and max(sizes) > engine.context_length:
        raise APIError(
            f"a text of {max(sizes)} tokens does not fit the model's context of "
            f"{engine.context_length}: shorten it",
            code="context_length_exceeded",
            param="input",
        )
    vectors = engine.embed(texts)
    if body.dimensions not in (None, vectors.shape[1]):
        raise APIError(f"dimensions must be {vectors.shape[1]} or left out", param="dimensions")
    server.metrics.prompt_tokens.labels(body.model).inc(sum(sizes))
    data = [
        {"object": "embedding", "index": index, "embedding": _vector(vector, body.encoding_format)}
        for index, vector in enumerate(vectors)
    ]
    usage = {"prompt_tokens": sum(sizes), "total_tokens": sum(sizes)}
    return json_response({"object": "list", "data": data, "model": body.model, "usage": usage})


def _vector(vector: Any, form: str) -> Any:
    if form == "float":
        return vector.tolist()
    return base64.b64encode(np.asarray(vector, "<f4").tobytes()).decode()


class _Counting:
    """Middleware that counts answers by path and status."""

    def __init__(self, app: Any, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def sending(message: Any) -> None:
            if message["type"] == "http.response.start":
                route = scope.get("route")
                path = getattr(route, "path", "other")
                self._metrics.requests.labels(path, message["status"]).inc()
            await send(message)

        await self._app(scope, receive, sending if scope["type"] == "http" else send)
