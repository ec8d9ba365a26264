"""Completions that repeat their prompt (`echo`), with the log-probabilities of its tokens.

So evaluation asks a service how likely a text is: `RemoteEngine.likelihoods`, lm-evaluation-harness
(`local-completions`).
"""

from __future__ import annotations

from typing import Any, Protocol, cast, runtime_checkable

from fastapi import Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from llmos.models.engines.engine import Engine, Piece
from llmos.models.engines.transformers_engine import Echoed
from llmos.serving.answers import Form, completion_form, usage_of
from llmos.serving.errors import APIError, json_response
from llmos.serving.leaving import until_gone
from llmos.serving.requests import CompletionRequest
from llmos.serving.server import Server

Echo = tuple[str, list[Echoed]]


@runtime_checkable
class Echoing(Protocol):
    """An engine that tells how likely its prompt is."""

    def echo(self, prompt: str | tuple[int, ...], top: int) -> Echo: ...


async def echoed(engine: Engine, prompt: str | tuple[int, ...], top: int | None) -> Echo:
    """A prompt as text, and its tokens. Raises `APIError` for an engine that does not tell."""
    if not isinstance(engine, Echoing):
        raise APIError("this model's engine has no echo: leave it out", param="echo")
    return await run_in_threadpool(engine.echo, prompt, top or 0)


def echo_answer(
    form: Form, prompts: list[Echo], pieces: list[Piece], *, with_logprobs: bool
) -> dict[str, Any]:
    """The answer: each prompt, and behind it the new text (an empty piece where there is none)."""
    choices = []
    for index, ((before, tokens), piece) in enumerate(zip(prompts, pieces, strict=True)):
        choice = cast(dict[str, Any], form.choice(index, piece, is_chunk=False, offset=len(before)))
        choice["text"] = before + choice["text"]
        if with_logprobs:
            told = [one for _, _, one in tokens]
            columns: dict[str, list[Any]] = {
                "tokens": [name for name, _, _ in tokens],
                "token_logprobs": [None if one is None else one.logprob for one in told],
                "top_logprobs": [None if one is None else dict(one.top) for one in told],
                "text_offset": [at for _, at, _ in tokens],
            }
            new = choice["logprobs"] or {}
            choice["logprobs"] = {k: [*values, *new.get(k, [])] for k, values in columns.items()}
        choices.append(choice)
    usage = usage_of(pieces, len(pieces))
    return {**form.head(form.whole), "choices": choices, "usage": usage}


async def repeated(server: Server, request: Request, body: CompletionRequest) -> Response:
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
