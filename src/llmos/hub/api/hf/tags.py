"""GET /api/models-tags-by-type and /api/datasets-tags-by-type: what listings can be filtered by."""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from llmos.hub.api.asking import Ask, answer
from llmos.hub.api.routing import Need, Route
from llmos.hub.repos.licence_names import OWN_WORDS, spdx_names
from llmos.hub.repos.tags import TASKS

STARTS = {  # tags that say of what type they are
    **{"license:": "license", "dataset:": "dataset", "language:": "language", "arxiv:": "arxiv"},
    **{"task_categories:": "task_categories", "size_categories:": "size_categories"},
    **{"task_ids:": "task_ids", "multilinguality:": "multilinguality"},
}


def model_tags(ask: Ask) -> Response:
    """Tags of models that everybody may see, by type."""
    return answer(_by_type(ask, "model"))


def dataset_tags(ask: Ask) -> Response:
    """Tags of data sets that everybody may see, by type."""
    return answer(_by_type(ask, "dataset"))


def _by_type(ask: Ask, kind: str) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {
        "license": [
            {"type": "license", "label": name, "id": f"license:{name}"}
            for name in sorted({*OWN_WORDS, *spdx_names()})
        ],
        "library": [],
        "language": [],
        "dataset": [],
    }
    for tag in ask.hub.tags.of(kind):
        start = next((start for start in STARTS if tag.startswith(start)), "")
        what = STARTS.get(start) or ("pipeline_tag" if tag in TASKS else "other")
        if what == "other" and kind == "model":
            what = _kind_of_bare(tag)
        if what != "license":
            one = {"type": what, "label": tag.removeprefix(start), "id": tag}
            found.setdefault(what, []).append(one)
    return found


def _kind_of_bare(tag: str) -> str:
    if tag in ("transformers", "peft", "sentence-transformers", "diffusers", "keras", "pytorch"):
        return "library"
    return "language" if len(tag) == 2 and tag.isalpha() else "other"


ROUTES = [
    Route("GET", "/api/models-tags-by-type", Need.PUBLIC, model_tags),
    Route("GET", "/api/datasets-tags-by-type", Need.PUBLIC, dataset_tags),
]
