"""lm-evaluation-harness with our engines: its tasks from local YAML files, nothing downloaded.

A folder of task files (https://github.com/EleutherAI/lm-evaluation-harness, docs/task_guide.md)
whose data are local files is measured, and the figures become a signed result like our own suites'.
lm-eval is in the extra `evaluate`.
"""

from __future__ import annotations

import math
import platform
from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from llmos import __version__
from llmos.errors import UsageError
from llmos.evaluation.asking import pairs_of
from llmos.evaluation.parts import HARNESS
from llmos.evaluation.predictions import items_folder, rows_sha256, write_rows
from llmos.metrics.bootstrap import Floats
from llmos.metrics.score import Mean, Score, mean_rows, score_rows
from llmos.models.engines.engine import Decoding, Engine, Request
from llmos.provenance.results import VERSION, Result, hardware, write_result
from llmos.provenance.signing import SigningKey
from llmos.records import JSON, canonical_json
from llmos.storage import sha256_hex

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lm_eval.api.instance import Instance

try:
    from lm_eval.api.model import LM
except ImportError:  # without the extra nothing here is of use; `run_harness` says so
    LM = object

NEW_TOKENS = 256
"""lm-eval's default `max_gen_toks`."""
_Z = 1.959964
"""Of a normal interval of 95 %."""


class EngineLM(LM):  # type: ignore[misc]
    """An engine as lm-eval asks models."""

    def __init__(self, engine: Engine) -> None:
        super().__init__()
        self._engine = engine

    def loglikelihood(self, requests: list[Instance]) -> list[tuple[float, bool]]:
        found = self._engine.likelihoods([one.args for one in requests])
        return [(one.logprob, one.is_greedy) for one in found]

    def loglikelihood_rolling(self, requests: list[Instance]) -> list[float]:
        pairs = [pairs_of(self._engine, "", one.args[0]) for one in requests]
        found = iter(self._engine.likelihoods([pair for of_one in pairs for pair in of_one]))
        return [math.fsum(next(found).logprob for _ in of_one) for of_one in pairs]

    def generate_until(self, requests: list[Instance]) -> list[str]:
        return [
            piece.text
            for piece in self._engine.write(
                [Request(prompt=one.args[0], decoding=_decoding(one.args[1])) for one in requests]
            )
        ]


def _decoding(options: Mapping[str, Any]) -> Decoding:
    until = options.get("until") or []
    return Decoding(
        max_new_tokens=int(options.get("max_gen_toks", NEW_TOKENS)),
        temperature=float(options.get("temperature", 0.0)) if options.get("do_sample") else 0.0,
        top_p=float(options.get("top_p", 1.0)),
        top_k=int(options.get("top_k", 0)),
        stop=(until,) if isinstance(until, str) else tuple(until),
        seed=0,
    )


def run_harness(
    engine: Engine,
    subject: JSON,
    *,
    folder: Path,
    tasks: Sequence[str],
    out: Path,
    key: SigningKey,
    limit: int = 0,
    seed: int = 0,
) -> Result:
    """Measure a model by tasks of a folder of lm-eval's YAML files; the signed result.

    Raises `UsageError` without lm-eval, or for tasks that the folder has not, and
    `UnsupportedError` for a model that cannot do them.
    """
    try:
        from lm_eval import simple_evaluate
        from lm_eval.tasks import TaskManager
    except ImportError as error:
        raise UsageError("this needs lm-eval: pip install llmos[evaluate]") from error
    with _offline():
        manager = TaskManager(include_path=str(folder), include_defaults=False)
        known = sorted(manager.all_tasks)
        if missing := [name for name in tasks if name not in known]:
            raise UsageError(f"{folder} has no task {missing[0]!r}: it has {', '.join(known)}")
        found = simple_evaluate(
            EngineLM(engine),
            tasks=list(tasks) or known,
            task_manager=manager,
            limit=limit or None,
            bootstrap_iters=1000,
            random_seed=seed,
            numpy_random_seed=seed,
            torch_random_seed=seed,
            fewshot_random_seed=seed,
        )
    assert found is not None  # it is None on the other machines of several only
    kept: dict[str, dict[str, Floats]] = {}
    parts = [_part(name, found, kept, seed) for name in sorted(found["samples"])]
    write_rows(items_folder(out), kept)
    specs = [part["spec"] for part in parts]
    body = {
        "version": VERSION,
        "suite": {
            "name": f"lm-eval:{folder.resolve().name}",
            "version": 1,
            "sha256": sha256_hex(canonical_json(specs)),
        },
        "model": subject,
        "code": {
            "llmos": __version__, "python": platform.python_version(), "lm-eval": version("lm-eval")
        },
        "seed": seed,
        "hardware": hardware(),
        "settings": {"limit": limit},
        "of": [],
        "benchmarks": parts,
    }  # fmt: skip
    return write_result(out, body, key)


@contextmanager
def _offline() -> Iterator[None]:
    """Within, `datasets` reads local files only."""
    import datasets

    before = datasets.config.HF_HUB_OFFLINE
    datasets.config.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        datasets.config.HF_HUB_OFFLINE = before


def _part(
    name: str, found: Mapping[str, Any], kept: dict[str, dict[str, Floats]], seed: int
) -> JSON:
    samples = sorted(found["samples"][name], key=lambda one: int(one["doc_id"]))
    better = found["higher_is_better"].get(name, {})
    scores, rows = [], {}
    for key, value in sorted(found["results"][name].items()):
        metric, comma, filtered = key.partition(",")
        if not comma or metric.endswith("_stderr"):
            continue
        own = [one for one in samples if one.get("filter", "none") == filtered]
        told = f"lm-eval:{version('lm-eval')}|filter:{filtered}"
        numbers = [one[metric] for one in own if metric in one]
        error = found["results"][name].get(f"{metric}_stderr,{filtered}")
        score, its_rows = _score(metric, value, numbers, error, told, seed)
        if its_rows is not None:
            rows[key] = its_rows
        direction = better.get(metric)
        is_better = True if direction is None else bool(direction)
        scores.append({**score.to_json(), "key": key, "higher_is_better": is_better})
    kept[name] = rows
    # What was asked, not only the records: tasks of one name may ask otherwise.
    asked = ("doc_hash", "prompt_hash", "target_hash")
    hashes = sorted({" ".join(str(one[key]) for key in asked) for one in samples})
    return {
        "name": name,
        "task": HARNESS,
        "dataset": name,
        "spec": {"lm-eval": name, "version": str(found["versions"].get(name)),
                 "shots": int(found["n-shot"].get(name) or 0)},
        "data_sha256": sha256_hex(canonical_json(hashes)),
        "n": len({one["doc_id"] for one in samples}),
        "how": str(found["configs"][name].get("output_type", "")),
        "rows_sha256": rows_sha256(rows),
        "scores": scores,
    }  # fmt: skip


def _score(
    metric: str, value: float, numbers: Sequence[Any], error: Any, told: str, seed: int
) -> tuple[Score, Floats | None]:
    """By item where the figure is the mean of the items' numbers; else by lm-eval's own error."""
    if numbers and all(isinstance(number, int | float) for number in numbers):
        rows = mean_rows([float(number) for number in numbers])
        if math.isclose(float(np.mean(rows[:, 0])), value, rel_tol=1e-9, abs_tol=1e-12):
            is_share = set(rows[:, 0].tolist()) <= {0.0, 1.0}
            return score_rows(Mean(metric, told, is_share=is_share), rows, seed=seed), rows
    half = _Z * float(error) if isinstance(error, int | float) else math.inf
    how = "normal 0.95, lm-eval's standard error" if math.isfinite(half) else "none"
    return Score(metric, value, value - half, value + half, len(numbers), told, how), None
