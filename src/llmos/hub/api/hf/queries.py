"""Parameters of the Hugging Face API's listings, read from a request."""

from __future__ import annotations

from llmos.hub.api.asking import Ask
from llmos.hub.api.hf.describing import FIELDS, FULL, LISTED
from llmos.hub.errors import HubError, bad_request
from llmos.hub.repos.listing import MOST_FILTERS, Wanted, read_range

LIMIT = 1000  # repositories on a page
TAG_PARAMETERS = {  # parameters that are filters by another name: start of the tag
    **{"library": "", "pipeline_tag": "", "license": "license:", "dataset": "dataset:"},
    **{"trained_dataset": "dataset:", "datasets": "dataset:", "models": "model:"},
    **{"language": "language:", "tags": "", "other": "", "sdk": ""},
    **{"task_categories": "task_categories:", "task_ids": "task_ids:"},
    **{"size_categories": "size_categories:", "multilinguality": "multilinguality:"},
}
BARE = {  # starts of filters that the tags of these kinds do not have
    "model": ("language:", "library:", "pipeline_tag:", "other:", "task_categories:"),
    "run": ("language:",),
    "space": ("language:", "sdk:"),
    "dataset": ("library:", "other:"),
}
NOBODY_HAS = ("inference", "inference_provider", "apps")  # no repository here matches these


def wanted_from(ask: Ask) -> Wanted | None:
    """What a listing is asked for; None: nothing that could be here. Raises `HubError` 400."""
    if any(ask.query(name) for name in NOBODY_HAS):
        return None
    least, most = (
        read_range(ask.query("num_parameters"))
        if ask.query("num_parameters")
        else (
            None,
            None,
        )
    )
    words = [word for text in ask.request.query_params.getlist("search") for word in text.split()]
    return Wanted(
        ask.match.kind,
        author=ask.query("author") or None,
        words=words[: MOST_FILTERS + 1],
        tags=_tags(ask),
        gated=ask.query_true("gated") if ask.query("gated") else None,
        least=least,
        most=most,
        sort=ask.query("sort") or "lastModified",
        ascending=ask.query("direction") in ("1", "asc"),
    )


def _tags(ask: Ask) -> list[str]:
    found = ask.query_list("filter")
    for name, start in TAG_PARAMETERS.items():
        for value in ask.query_list(name):
            found.append(value if value.startswith(start) else f"{start}{value}")
    tags = []
    for tag in dict.fromkeys(found):
        start = next((one for one in BARE[ask.match.kind] if tag.startswith(one)), "")
        tags.append(tag.removeprefix(start).lower()[:200])
    return tags


def fields_from(ask: Ask, usual: frozenset[str]) -> tuple[list[str], bool]:
    """The fields that an answer should have, and whether they were asked for by name (`expand`).

    Raises `HubError` 400 for a field that there is none of.
    """
    named = ask.query_list("expand")
    there = FIELDS[ask.match.kind]
    for place, name in enumerate(named):
        if name not in there:
            choice = "|".join(f'"{one}"' for one in there)
            raise bad_request(f"✖ Invalid option: expected one of {choice}\n  → at expand[{place}]")
    if named:
        return list(dict.fromkeys(named)), True
    fields = set(usual)
    if ask.query_true("full"):
        fields |= FULL | ({"cardData"} if ask.match.kind != "model" else set())
    if ask.query_true("cardData"):
        fields |= {"cardData", "model-index"}
    if ask.query_true("config") or ask.query_true("fetch_config"):
        fields.add("config")
    return sorted(fields), False


def listed_fields(ask: Ask) -> tuple[list[str], bool]:
    """The fields of a listing; see `fields_from`."""
    return fields_from(ask, LISTED)


def page_limit(ask: Ask, most: int = LIMIT) -> int:
    """How many a page may have: `limit`, or `most`. Raises `HubError` 400."""
    limit = ask.query_number("limit", most, most)
    if limit == 0:
        raise HubError(400, "limit=0: ask for one or more")
    return limit
