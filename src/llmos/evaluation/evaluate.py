"""A suite at a model: items are asked, judged and added up into a signed result.

result = evaluate(load_suite("public"), "runs/gpt", data=Path("data"), out=Path("gpt.json"),
                  key=open_key(Path("key.pem")))
"""

from __future__ import annotations

import math
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from llmos import __version__
from llmos.errors import LLMOSError, UsageError
from llmos.evaluation.asking import ask
from llmos.evaluation.items import Item, items_sha256, load_items
from llmos.evaluation.judging import rows
from llmos.evaluation.predictions import (
    AT_ONCE,
    Answers,
    alone_in,
    items_folder,
    rows_sha256,
    write_rows,
)
from llmos.evaluation.quantities import quantities
from llmos.evaluation.subject import opened
from llmos.evaluation.suites import Benchmark, Suite
from llmos.metrics.bootstrap import Floats
from llmos.metrics.score import Quantity, Score, score_rows
from llmos.models.engines.engine import Engine, UnsupportedError
from llmos.provenance.results import VERSION, Result, hardware, write_result
from llmos.provenance.signing import SigningKey
from llmos.records import JSON, canonical_json
from llmos.storage import sha256_hex

Told = Callable[[str, int, int], None]
"""Called with the benchmark's name, the items done and all of them."""
LAST = 24 * 3600.0
"""Seconds that answers of a service are kept: a folder is known by its hash, while a service may
change its model under the same name."""
SAMPLES = 1000
"""Of the bootstrap (Koehn 2004, W04-3250)."""


@dataclass(frozen=True)
class Evaluated:
    """The result, the benchmarks that the model cannot do, with the reason, and how many answers of
    each other one were there from an evaluation before."""

    result: Result
    left_out: Mapping[str, str]
    kept: Mapping[str, int]


def evaluate(
    suite: Suite,
    model: str,
    *,
    data: Path,
    out: Path,
    key: SigningKey,
    links: Sequence[str] = (),
    limit: int = 0,
    contamination: JSON | None = None,
    told: Told = lambda name, done, total: None,
    engine: Engine | None = None,
    anew: bool = False,
) -> Evaluated:
    """Measure a model and write the signed result to `out`; what is there already is not asked
    again, unless `anew`, or the model is another, or a service's answers are old (`LAST`). `limit`:
    so many items of each benchmark at most, evenly spread; the result says so.

    Raises `UsageError` for data that does not fit the suite, `ModelError` for a model that cannot
    be read or can do no benchmark of the suite, `StorageError` while another evaluation writes
    there.
    """
    sets = {one.name: _items(one, data, limit) for one in suite.benchmarks}
    engine, subject = opened(model, links, engine)
    folder = items_folder(out)
    is_known = bool(subject["sha256"])
    asked = subject["sha256"] if is_known else [subject["name"], getattr(engine, "identity", "")]
    last = -math.inf if anew else math.inf if is_known else LAST
    parts: list[JSON] = []
    judged: dict[str, dict[str, Floats]] = {}
    left_out: dict[str, str] = {}
    kept: dict[str, int] = {}
    with alone_in(folder):
        for one in suite.benchmarks:
            items = sets[one.name]
            depends = sha256_hex(
                canonical_json([one.to_json(), items_sha256(items), asked, suite.seed])
            )
            answers = Answers(folder / f"{one.name}.jsonl", depends, last=last)
            try:
                _ask_all(engine, one, items, answers, suite.seed, told)
            except UnsupportedError as error:
                left_out[one.name] = _without_path(str(error), engine, subject["name"])
                continue
            kept[one.name] = answers.kept
            judged[one.name] = rows(one, items, answers.found)
            how = [_without_path(way, engine, subject["name"]) for way in answers.how]
            parts.append(_part(one, items, how, judged[one.name], suite.seed))
        if not parts:
            name, reason = next(iter(left_out.items()))
            raise UsageError(f"{model} can do no benchmark of {suite.name} ({name}: {reason})")
        write_rows(folder, judged)
    body: JSON = {
        "version": VERSION,
        "suite": {"name": suite.name, "version": suite.version, "sha256": suite.sha256()},
        "model": subject,
        "code": {"llmos": __version__, "python": platform.python_version()},
        "seed": suite.seed,
        "hardware": {**hardware(), "device": _device(engine)},
        "settings": {"limit": limit, "samples": SAMPLES, "left_out": left_out},
        "of": [],
        "benchmarks": parts,
    }
    if contamination is not None:
        body["contamination"] = contamination
    return Evaluated(write_result(out, body, key), left_out, kept)


def scored(name: str, quantity: Quantity, score: Score) -> JSON:
    """A score as a result holds it."""
    return {**score.to_json(), "key": name, "higher_is_better": quantity.higher_is_better}


def _items(one: Benchmark, data: Path, limit: int) -> list[Item]:
    items = load_items(one, data)
    if 0 < limit < len(items):
        return [items[at * len(items) // limit] for at in range(limit)]
    return items


def _ask_all(
    engine: Engine,
    one: Benchmark,
    items: Sequence[Item],
    answers: Answers,
    seed: int,
    told: Told,
) -> None:
    told(one.name, len(answers.found), len(items))
    while len(answers.found) < len(items):
        start = len(answers.found)
        answers.add(*ask(engine, one, items[start : start + AT_ONCE], seed))
        told(one.name, len(answers.found), len(items))


def _part(
    one: Benchmark,
    items: Sequence[Item],
    how: Sequence[str],
    found: Mapping[str, Floats],
    seed: int,
) -> JSON:
    scores = [
        scored(name, quantity, score_rows(quantity, found[name], samples=SAMPLES, seed=seed))
        for name, quantity in quantities(one).items()
    ]
    return {
        "name": one.name,
        "task": one.task,
        "dataset": one.dataset or one.name,
        "spec": one.to_json(),
        "data_sha256": items_sha256(items),
        "n": len(items),
        "how": "; ".join(how),
        "rows_sha256": rows_sha256(found),
        "scores": scores,
    }


def _without_path(text: str, engine: Engine, name: str) -> str:
    """With the model's name in place of the folder where it lies: a result is sent to others."""
    for place in (getattr(engine, "folder", None), engine.name):
        text = text.replace(str(place), name) if place else text
    return text


def _device(engine: Engine) -> str:
    if getattr(engine, "folder", None) is None:
        return "remote"
    try:
        from llmos.device import default_device

        return default_device()
    except (ImportError, LLMOSError):
        return "unknown"
