"""What a finished run measured on held-out text, as a signed result: for leaderboards."""

from __future__ import annotations

import math
import platform
from pathlib import Path
from typing import Any

from llmos import __version__
from llmos.errors import UsageError
from llmos.metrics.perplexity import bits_per_byte
from llmos.metrics.score import Score
from llmos.provenance.ledger import Entry, Ledger
from llmos.provenance.results import Result, hardware, model_digest, write_result
from llmos.provenance.run_checks import ALONE
from llmos.provenance.signing import load_key
from llmos.records import JSON, canonical_json
from llmos.storage import sha256_file, sha256_hex

SUITE = "held-out text"
TASK = "language modelling"
METRIC = "bits per byte"
NO_INTERVAL = "none: sums only"


def write_run_result(folder: Path, name: str) -> Result:
    """Sign what the run in `folder` measured, for a model called `name`, and write it to
    folder/results. The key is the one that signed the ledger. Raises `UsageError` for a run that
    is not finished."""
    entries = Ledger.open(folder / "ledger.jsonl").entries
    parts = _measured(entries)
    if not parts:
        raise UsageError(f"{folder} is not finished: llmos train --resume {folder}")
    alone = entries[0].kind == ALONE
    key = load_key(folder / "key.pem" if alone else folder / "coordinator" / "key.pem")
    recipe = entries[0].body["recipe"]
    files = {path.name: sha256_file(path) for path in (folder / "model").iterdir()}
    suite: JSON = {"name": f"{SUITE} of {recipe['name']}", "version": 1}
    body: JSON = {
        "version": 1,
        "suite": {**suite, "sha256": sha256_hex(canonical_json([suite, parts]))},
        "model": {
            "name": name,
            "kind": "folder",
            "sha256": model_digest(files),
            "links": {},
            "recipe_sha256": entries[0].body["recipe_sha256"],
            "ledger_head": entries[-1].hash,
        },
        "code": {"llmos": __version__, "python": platform.python_version()},
        "seed": recipe["seed"],
        "hardware": hardware(),
        "settings": {},
        "of": [],
        "benchmarks": parts,
    }
    return write_result(folder / "results" / "held-out.json", body, key)


def _measured(entries: list[Entry]) -> list[JSON]:
    """A benchmark for each member's test text."""
    bodies = {entry.kind: entry.body for entry in entries}
    if "tested" in bodies and "published" in bodies:
        cards = {
            e.body["join"]["member"]: e.body["join"]["card"]
            for e in entries
            if e.kind == "member_admitted"
        }
        return [
            _benchmark(signed["member"], cards[signed["member"]], signed["scores"])
            for signed in bodies["tested"]["evaluations"]
        ]
    if "trained" in bodies and "published" in bodies:
        opened = bodies[ALONE]
        return [_benchmark("its own text", opened["card"], bodies["trained"]["test"])]
    return []


def _benchmark(whose: str, card: JSON, sums: JSON) -> JSON:
    nll, size = float(sums["nll_nats"]), int(sums["bytes"])
    n = int(sums.get("units", 0)) or 1
    value = bits_per_byte(nll, size)
    score = Score(
        METRIC, value, -math.inf, math.inf, n, "context:half of the window", NO_INTERVAL,
        (nll, float(size)),
    )  # fmt: skip
    text: dict[str, Any] = {"content_sha256": str(card.get("content_sha256", ""))}
    digest = sha256_hex(canonical_json([whose, text]))
    return {
        "name": f"held-out/{whose}",
        "task": TASK,
        "dataset": f"held-out text of {whose}",
        "spec": text,
        "data_sha256": digest,
        "n": n,
        "how": "likelihood",
        "rows_sha256": "",
        "scores": [{**score.to_json(), "key": METRIC, "higher_is_better": False}],
    }
