"""Stage 4: all counts added up, proof that nothing protected is left, the data card."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from itertools import chain
from pathlib import Path
from typing import Any

from llmos import __version__
from llmos.data.card import KIND, VERSION, kept_values, write_card
from llmos.data.dedup.duplicates import find_duplicates
from llmos.data.preparation import cleaning, writing
from llmos.data.preparation.places import Places, read_json, write_json
from llmos.data.preparation.settings import Settings
from llmos.data.prepared import FIELD_NAMES
from llmos.data.steps.protected import pattern_count, prove
from llmos.data.tally import Tally
from llmos.errors import DataError
from llmos.records import JSON
from llmos.storage import atomic_writer

DEDUP_STAGE = "dedup"
STAGE = "finish"


def mark_duplicates(work: Path, number: int) -> None:
    """Stage 2, one task: which documents and lines are to go, from the fingerprints of all."""
    places = Places.of_work(work)
    begun = read_json(places.settings)
    rules = Settings.from_json(begun["settings"]).rules
    counts = find_duplicates(
        places.fingerprints,
        begun["chunks"],
        places.removals,
        near=rules.near_duplicates,
        line_documents=rules.line_documents,
    )
    write_json(places.report(DEDUP_STAGE, number), asdict(counts))


def finish(work: Path, number: int) -> None:
    """Write the lists of what was found, and then the card, which says that all is done."""
    del number
    places = Places.of_work(work)
    begun = read_json(places.settings)
    settings = Settings.from_json(begun["settings"])
    cleaned = [read_json(places.report(cleaning.STAGE, n)) for n in range(begun["chunks"])]
    written = [read_json(places.report(writing.STAGE, n)) for n in range(begun["chunks"])]
    tally = Tally.added(report["tally"] for report in chain(cleaned, written))
    if not sum(tally.licences.values()):
        raise DataError(_nothing_left(tally))
    problems = [*begun["problems"], *(p for report in cleaned for p in report["problems"])]
    found = [f for report in cleaned for f in report["findings"]]
    for left in (*places.folder.glob(".*.tmp"), *places.folder.glob("[!.]*/.*.tmp")):
        left.unlink(missing_ok=True)  # of writers that were killed
    _write_lines(places.folder / "problems.jsonl", ({"path": p, "reason": r} for p, r in problems))
    _write_lines(places.folder / "contaminated.jsonl", found)
    write_card(places.folder, _card(places, begun, settings, tally, written, problems, found))


def _card(
    places: Places,
    begun: JSON,
    settings: Settings,
    tally: Tally,
    written: list[JSON],
    problems: list[list[str]],
    found: list[JSON],
) -> JSON:
    read = {"documents": Counter[str](), "bytes": Counter[str]()}
    for key, count in tally.read.items():
        unit, source = key.split("\t")
        read[unit][source] += count
    duplicates = sum(tally.dropped[reason] for reason in tally.dropped if "duplicate_" in reason)
    kept = sum(tally.licences.values())
    card: JSON = {
        "kind": KIND,
        "version": VERSION,
        "name": settings.name or places.folder.name,
        "synthetic": begun["synthetic"],
        "read": {unit: sum(counts.values()) for unit, counts in read.items()},
        "sources": {
            source: {unit: read[unit][source] for unit in read}
            for source in sorted(read["documents"])
        },
        "problems": dict(sorted(Counter(reason for _, reason in problems).items())),
        "dropped": dict(sorted(tally.dropped.items())),
        "changed": dict(sorted(tally.changed.items())),
        "duplicates": {
            "near_duplicates": settings.rules.near_duplicates,
            "line_documents": settings.rules.line_documents,
            "rate": round(duplicates / max(1, duplicates + kept), 6),
        },
        "contamination": _contamination(settings, begun["files"], found),
        "protected": _protected(places, settings, begun["files"], tally),
        "made": {
            "llmos": __version__,
            "recipe_sha256": settings.recipe_sha256,
            "settings_sha256": begun["sha256"],
            "rules": asdict(settings.rules),
            "fields": {name: getattr(settings.data, name) for name in FIELD_NAMES},
        },
        **kept_values(tally, [report["file"] for report in written]),
    }
    if settings.tokenizer:
        card["tokens"] = {
            "tokenizer_sha256": begun["files"][settings.tokenizer],
            "tokens": sum(report["tokens"] for report in written),
        }
    return card


def _contamination(settings: Settings, hashes: Mapping[str, str], found: list[JSON]) -> list[JSON]:
    documents = Counter(name for finding in found for name in finding["sets"])
    return [
        {"name": Path(path).name, "sha256": hashes[path], "documents": documents[Path(path).name]}
        for path in settings.decontaminate
    ]


def _protected(
    places: Places, settings: Settings, hashes: Mapping[str, str], tally: Tally
) -> JSON | None:
    if not settings.protected:
        return None
    patterns = Path(settings.protected)
    return {
        "patterns": pattern_count(patterns),
        "sha256": hashes[settings.protected],
        "dropped": tally.dropped["protected"],
        "left": prove(places.folder, patterns),
    }


def _nothing_left(tally: Tally) -> str:
    reasons = ", ".join(f"{reason} {count}" for reason, count in tally.dropped.most_common(3))
    return (
        f"no document is left of {sum(tally.dropped.values())} ({reasons}): change [preparation] "
        "in the recipe, such as quality = []; --keep-dropped shows what was dropped"
    )


def _write_lines(path: Path, values: Any) -> None:
    """JSON lines; no file where there is nothing to tell."""
    lines: Iterator[Any] = iter(values)
    first = next(lines, None)
    if first is None:
        return
    with atomic_writer(path) as file:
        for value in chain([first], lines):
            file.write(json.dumps(value).encode() + b"\n")
