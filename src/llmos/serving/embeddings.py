"""Texts as vectors, as OpenAI's API tells them."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
from starlette.responses import Response

from llmos.serving.errors import APIError, json_response
from llmos.serving.requests import EmbeddingsRequest
from llmos.serving.server import Server


def embedded(server: Server, body: EmbeddingsRequest) -> Response:
    """The vectors of all texts. Raises `APIError` for a text that is too long."""
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
