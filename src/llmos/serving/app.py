"""The server's paths. `create_app` makes it of engines; `cli/serve.py` runs it.

app = create_app({"story": TransformersEngine("model")}, Settings())
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.responses import Response

from llmos import __version__
from llmos.errors import LLMOSError
from llmos.models.engines.engine import Engine
from llmos.serving import invalid
from llmos.serving.answers import chat_form, completion_form
from llmos.serving.echo import repeated
from llmos.serving.embeddings import embedded
from llmos.serving.errors import APIError, told
from llmos.serving.limits import Limits
from llmos.serving.metrics import Counting
from llmos.serving.requests import ChatRequest, CompletionRequest, EmbeddingsRequest
from llmos.serving.server import Server, Settings
from llmos.serving.tasks import tasks_router

log = logging.getLogger(__name__)


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
    app.add_middleware(Counting, metrics=server.metrics)

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
            return await _told(repeated(server, request, body))
        wanted = server.wanted(server.engine(body.model), body)
        return await _told(server.answer(request, body, completion_form(body.model), wanted))

    @app.post("/v1/chat/completions", responses=errors | streamed)
    async def chat(request: Request, body: ChatRequest) -> Response:
        wanted = server.wanted_chat(server.engine(body.model), body)
        return await _told(server.answer(request, body, chat_form(body.model), wanted))

    @app.post("/v1/embeddings", responses=errors)
    async def embeddings(body: EmbeddingsRequest) -> Response:
        return await _told(run_in_threadpool(embedded, server, body))

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
