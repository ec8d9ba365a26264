"""Results of several members, of one model and one suite, as one. No torch.

Each member measures the model on items of its own and sends its result: sums and second moments,
no items. The figures are what they would be with all items in one place (`metrics.score.add`).
"""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from typing import Any

from llmos import __version__
from llmos.errors import UsageError
from llmos.evaluation.parts import quantities_of
from llmos.metrics.score import Quantity, Score, add
from llmos.provenance.results import VERSION, Result
from llmos.records import JSON, canonical_json
from llmos.storage import sha256_hex


def add_results(results: Sequence[Result]) -> JSON:
    """The body of the joint result, to be signed by whoever added.

    Raises `UsageError` for results of other models, suites or settings, of the same items (they
    would count twice), or of one member twice.
    """
    if len(results) < 2:
        raise UsageError(
            f"{len(results)} result cannot be added: give those of two or more members"
        )
    first = results[0]
    for other in results[1:]:
        for name, told in (("model", _model), ("suite", _suite)):
            if told(first) != told(other):
                raise UsageError(
                    f"{other.name} is of another {name} than {first.name}: add what was measured "
                    "alike"
                )
    parts = [_joint([_of(one, part["name"]) for one in results]) for part in first.benchmarks]
    joint: JSON = {
        "version": VERSION,
        "suite": first.body["suite"],
        "model": first.body["model"],
        "code": {"llmos": __version__, "python": platform.python_version()},
        "seed": first.body["seed"],
        "hardware": {},
        "settings": {"limit": max(one.body["settings"].get("limit", 0) for one in results)},
        "of": [{"sha256": one.sha256, "signer": one.signer} for one in results],
        "benchmarks": parts,
    }
    checked = [one.body["contamination"] for one in results if "contamination" in one.body]
    if checked:
        names = [part["name"] for part in parts]
        joint["contamination"] = {"benchmarks": {name: _sums(checked, name) for name in names}}
    return joint


def _sums(checked: Sequence[JSON], name: str) -> JSON:
    """Items found in the training text by the members that looked."""
    parts = [one["benchmarks"].get(name, {}) for one in checked]
    return {key: sum(part.get(key, 0) for part in parts) for key in ("items", "found", "too_short")}


def _model(result: Result) -> object:
    model = result.body["model"]
    return model["sha256"] or model["name"]


def _suite(result: Result) -> object:
    return result.body["suite"]["sha256"], result.body["seed"]


def _of(result: Result, name: str) -> JSON:
    found = [part for part in result.benchmarks if part["name"] == name]
    if not found:
        raise UsageError(f"{result.name} has no benchmark {name}: evaluate all of the suite")
    return found[0]


def _joint(parts: Sequence[JSON]) -> JSON:
    first = parts[0]
    hashes = [part["data_sha256"] for part in parts]
    if len(set(hashes)) < len(hashes):
        raise UsageError(f"two results of {first['name']} are of the same items: give each once")
    if any(part["spec"] != first["spec"] for part in parts):
        raise UsageError(f"{first['name']} was not measured alike: use one suite file")
    ways = sorted({part["how"] for part in parts})
    if len(ways) > 1:
        raise UsageError(
            f"{first['name']} was asked by {' and by '.join(ways)}: ask the model alike everywhere"
        )
    return {
        **first,
        "data_sha256": sha256_hex(canonical_json(sorted(hashes))),
        "n": sum(part["n"] for part in parts),
        "rows_sha256": "",
        "scores": [
            _score(key, quantity, [_found(part, key) for part in parts])
            for key, quantity in quantities_of(parts).items()
        ],
    }


def _found(part: Mapping[str, Any], key: str) -> Score:
    for one in part["scores"]:
        if one["key"] == key:
            return Score.from_json(one)
    raise UsageError(f"{part['name']} has no score {key}: evaluate it again")


def _score(key: str, quantity: Quantity, scores: Sequence[Score]) -> JSON:
    joint = add(quantity, scores).to_json()
    return {**joint, "key": key, "higher_is_better": quantity.higher_is_better}
