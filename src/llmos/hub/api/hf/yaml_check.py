"""POST /api/validate-yaml: is the head of a card right? Clients ask before each commit of one."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict
from starlette.responses import Response

from llmos.hub.api.asking import Ask, answer
from llmos.hub.api.routing import Need, Route
from llmos.hub.repos.cards import CardError, head_of, parse_head
from llmos.hub.repos.licence_names import OWN_WORDS, is_licence

NO_HEAD = "empty or missing yaml metadata in repo card"
LISTS_OF_TEXT = ("tags", "datasets", "metrics", "language", "task_categories", "license")


class Card(BaseModel):
    """The body: a card, and the kind of repository it is for."""

    model_config = ConfigDict(strict=True)
    content: str
    repoType: str | None = None  # the protocol's name


def validate(ask: Ask) -> Response:
    """Errors (then 400) and warnings, each a message."""
    body = ask.data
    assert isinstance(body, Card)
    errors: list[str] = []
    warnings: list[str] = []
    try:
        if not (head_of(body.content) or "").strip():
            warnings.append(NO_HEAD)
        else:
            errors += faults(parse_head(body.content), body.repoType or "model")
    except CardError as error:
        errors.append(str(error))
    told = {
        "errors": [{"message": message} for message in errors],
        "warnings": [{"message": message} for message in warnings],
    }
    return answer(told, 400 if errors else 200)


def faults(head: dict[str, Any], kind: str) -> list[str]:
    """What is wrong with a card's metadata, a sentence each."""
    found = []
    for key in LISTS_OF_TEXT:
        value = head.get(key)
        items = value if isinstance(value, list) else [value]
        if any(isinstance(item, dict | list) for item in items):
            found.append(f'"{key}" must be a text or a list of texts')
    found += _licence_faults(head.get("license"))
    if kind == "model":
        found += _index_faults(head.get("model-index"))
    if kind == "space" and "sdk" in head and not isinstance(head["sdk"], str):
        found.append('"sdk" must be a text')
    return found


def _licence_faults(value: Any) -> list[str]:
    stated = value if isinstance(value, list) else [value]
    wrong = [one for one in stated if isinstance(one, str) and one and not is_licence(one)]
    if not wrong:
        return []
    words = ", ".join(sorted(OWN_WORDS))
    return [
        f'"license" must be one of [{words}] or an expression of SPDX identifiers, not '
        f"{wrong[0][:100]!r}"
    ]


def _index_faults(value: Any) -> list[str]:
    if value is None:
        return []
    if not isinstance(value, list):
        return ['"model-index" must be an array']
    found = []
    for place, model in enumerate(value[:100]):
        where = f'"model-index[{place}]'
        if not isinstance(model, dict):
            found.append(f'{where}" must be an object')
            continue
        if not isinstance(model.get("name"), str) or not model["name"]:
            found.append(f'{where}.name" is required')
        results = model.get("results")
        if not isinstance(results, list):
            found.append(f'{where}.results" must be an array')
            continue
        for number, result in enumerate(results[:1000]):
            for key in ("task", "dataset", "metrics"):
                if not isinstance(result, dict) or key not in result:
                    found.append(f'{where}.results[{number}].{key}" is required')
    return found[:20]


ROUTES = [Route("POST", "/api/validate-yaml", Need.PUBLIC, validate, takes=Card)]
