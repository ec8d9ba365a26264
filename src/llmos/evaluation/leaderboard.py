"""A leaderboard from signed results: task by data set by metric, with intervals. No torch.

Models whose intervals overlap share a place: one is above another only where its interval lies
wholly on the better side. A result counts only if its signature holds; whom the key belongs to is
known for the signers that are named. Of several results of one model on the same items by one
signer the last one given counts.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llmos.errors import SignatureError
from llmos.metrics.score import Score
from llmos.provenance.results import Result, read_result
from llmos.records import JSON

UNKNOWN_SIGNER = "nobody here vouches for the signer"
SERVICE = "a service: which model answers cannot be checked"
LIMITED = "on a part of the items"
CONTAMINATED = "items found in the training text"


@dataclass(frozen=True)
class Entry:
    """A model's place in a table. marks: why it is to be read with care."""

    place: int
    model: str
    score: Score
    signer: str
    how: str
    marks: tuple[str, ...]
    links: Mapping[str, str]
    hashes: Mapping[str, str]
    """Of the model, of its recipe and of its ledger's last entry, as far as they are known, and of
    the result."""


@dataclass(frozen=True)
class Table:
    """The models measured alike: one metric, with its settings, on the same items."""

    task: str
    dataset: str
    metric: str
    settings: str
    n: int
    data_sha256: str
    higher_is_better: bool
    entries: tuple[Entry, ...]


@dataclass(frozen=True)
class Leaderboard:
    """Tables, and the files that were refused with the reason."""

    tables: tuple[Table, ...]
    refused: Mapping[str, str]

    def to_json(self) -> JSON:
        return {
            "tables": [
                {**vars(table), "entries": [_entry_json(entry) for entry in table.entries]}
                for table in self.tables
            ],
            "refused": dict(self.refused),
        }


def _entry_json(entry: Entry) -> JSON:
    return {
        **vars(entry),
        "score": entry.score.to_json(),
        "marks": list(entry.marks),
        "links": dict(entry.links),
        "hashes": dict(entry.hashes),
    }


def leaderboard(paths: Iterable[Path], signers: Mapping[str, str] | None = None) -> Leaderboard:
    """The leaderboard of result files. `signers`: names by public key.

    A file that was changed after signing is refused, by name. Raises `UsageError` for one that is
    no result.
    """
    results, refused = [], {}
    for path in paths:
        try:
            results.append(read_result(path))
        except SignatureError as error:
            refused[str(path)] = str(error)
    return Leaderboard(tuple(tables(results, signers or {})), refused)


def tables(results: Sequence[Result], signers: Mapping[str, str]) -> list[Table]:
    """The tables of results whose signatures hold."""
    groups: dict[tuple[str, ...], dict[tuple[str, str], tuple[Result, JSON, JSON]]] = {}
    for result in results:
        model = result.body["model"]
        for part in result.benchmarks:
            for score in part["scores"]:
                group = (
                    part["task"], part["dataset"], part["data_sha256"],
                    score["metric"], score["settings"],
                )  # fmt: skip
                own = (model["sha256"] or model["name"], result.signer)
                groups.setdefault(group, {})[own] = (result, part, score)
    # Metrics of one task and data set stay together, in the order in which results have them.
    order = sorted(groups, key=lambda group: group[:2])
    return [_table(list(groups[group].values()), signers) for group in order]


def _table(found: Sequence[tuple[Result, JSON, JSON]], signers: Mapping[str, str]) -> Table:
    _, part, score = found[0]
    is_higher = bool(score["higher_is_better"])
    scores = [Score.from_json(one) for _, _, one in found]
    entries = [
        Entry(
            place,
            str(result.body["model"]["name"]),
            own,
            signers.get(result.signer, result.signer[:16]),
            str(part["how"]),
            tuple(_marks(result, part, signers)),
            result.body["model"].get("links", {}),
            _hashes(result),
        )
        for (result, part, _), own, place in zip(
            found, scores, places(scores, is_higher), strict=True
        )
    ]
    sign = -1 if is_higher else 1
    entries.sort(key=lambda one: (one.place, sign * one.score.value, one.model))
    return Table(
        part["task"], part["dataset"], score["metric"], score["settings"], int(part["n"]),
        part["data_sha256"], is_higher, tuple(entries),
    )  # fmt: skip


def _hashes(result: Result) -> dict[str, str]:
    named = {"model": "sha256", "recipe": "recipe_sha256", "ledger": "ledger_head"}
    model = result.body["model"]
    known = {name: str(model[key]) for name, key in named.items() if model.get(key)}
    return {**known, "result": result.sha256}


def places(scores: Sequence[Score], higher_is_better: bool) -> list[int]:
    """1 and the number of models whose interval lies wholly on the better side, for each."""
    if higher_is_better:
        ends = [(one.low, one.high) for one in scores]
    else:
        ends = [(-one.high, -one.low) for one in scores]
    worse = sorted(low for low, _ in ends)
    return [1 + len(worse) - bisect_right(worse, high) for _, high in ends]


def _marks(result: Result, part: Mapping[str, Any], signers: Mapping[str, str]) -> Iterable[str]:
    if result.signer not in signers:
        yield UNKNOWN_SIGNER
    if not result.is_measured:
        yield SERVICE
    if result.body["settings"].get("limit"):
        yield LIMITED
    checked = result.body.get("contamination", {}).get("benchmarks", {})
    if checked.get(part["name"], {}).get("found"):
        yield f"{CONTAMINATED}: {checked[part['name']]['found']}"
