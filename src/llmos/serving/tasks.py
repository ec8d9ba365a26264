"""POST /v1/tasks/{task}: every task of llmos over HTTP, as `llmos translate` and the others do it.

    {"model": "story", "inputs": {"text": "Good morning.", "to": "fr"}}

`inputs` may be a list, whose results are written together. The paths, their fields and their
documentation come from `llmos.tasks.TASKS`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field, create_model
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from llmos.models.engines.engine import Decoding, Engine
from llmos.models.engines.transformers_engine import check
from llmos.serving.errors import json_response
from llmos.serving.requests import PROMPTS, Text
from llmos.tasks import TASKS
from llmos.tasks.running import run
from llmos.tasks.task import Options, Result, Task

LONGEST = 1 << 20
"""New tokens of one text."""


class Writing(BaseModel):
    """How the texts are written, where it differs from the task's own way."""

    model_config = ConfigDict(allow_inf_nan=False)

    max_new_tokens: int | None = Field(None, ge=1, le=LONGEST)
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, gt=0, le=1)
    top_k: int | None = Field(None, ge=0, le=1 << 20)
    num_beams: int | None = Field(None, ge=1, le=16)
    seed: int | None = Field(None, ge=-(2**63), le=2**63 - 1)


class TaskRequest(BaseModel):
    """What all tasks have in common; `inputs` comes with each."""

    model: str
    language: Text = ""
    decoding: Writing | None = None


def tasks_router(
    engine_of: Callable[[str], Engine], count: Callable[[str, Result], None], errors: Any
) -> APIRouter:
    """The paths of all tasks. `count` is told the model and each of its results."""
    router = APIRouter()
    for name, task in TASKS.items():
        router.add_api_route(
            f"/v1/tasks/{name}",
            _path(task, engine_of, count),
            methods=["POST"],
            name=name,
            summary=task.about,
            responses=errors,
        )
    return router


def _path(
    task: Task, engine_of: Callable[[str], Engine], count: Callable[[str, Result], None]
) -> Callable[..., Any]:
    body_type: Any = _body(task)

    async def answer(body: body_type) -> Response:
        engine = engine_of(body.model)
        settings = body.decoding.model_dump(exclude_none=True) if body.decoding else {}
        check(Decoding(**settings))
        many = body.inputs if isinstance(body.inputs, list) else [body.inputs]
        inputs = [one.model_dump(by_alias=True, exclude_none=True) for one in many]
        options = Options(language=body.language, decoding=settings)
        results = await run_in_threadpool(run, task, engine, inputs, options)
        for result in results:
            count(body.model, result)
        data = [{"index": index, **result.to_json()} for index, result in enumerate(results)]
        head = {"object": "list", "task": task.name, "model": body.model}
        return json_response({**head, "data": data})

    # FastAPI reads the type of the body from here; a string would be looked up in this module.
    answer.__annotations__["body"] = body_type
    return answer


def _body(task: Task) -> type[BaseModel]:
    fields: dict[str, Any] = {
        one.name: (
            Text if one.default is None else Text | None,
            Field(... if one.default is None else None, description=one.about),
        )
        for one in task.fields
    }
    title = task.name.title().replace("_", "")
    one = create_model(
        f"{title}Inputs", __config__=ConfigDict(extra="forbid", protected_namespaces=()), **fields
    )
    several = Annotated[list[one], Field(min_length=1, max_length=PROMPTS)]  # type: ignore[valid-type]
    return create_model(f"{title}Request", __base__=TaskRequest, inputs=(one | several, ...))
