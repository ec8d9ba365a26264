"""The comparison: columns, their choice on validation text, resuming, verdicts."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from llmos.errors import TrainingError
from llmos.federation.compare import Comparison, Outcome, verdict
from llmos.federation.exchange.directory import DirectoryExchange
from llmos.federation.protocol import get_blob
from llmos.federation.report import load_state
from llmos.models.arrays import Vector, set_weights, vector_from_bytes
from llmos.models.scoring import Scores
from llmos.storage import write_atomic
from llmos.training.loop import Trainer, use_deterministic
from llmos.training.material import Material
from llmos.training.workbench import Workbench

if TYPE_CHECKING:
    from tests.conftest import Joint

ALL = ["alone", "alone_whole_budget", "together", "together_own", "pooled"]
Comparisons = Callable[..., Comparison]


@pytest.fixture
def comparison(joint: Joint, tmp_path: Path, materials: dict[str, Material]) -> Comparisons:
    """`comparison({"evaluation.columns": [...]})` over the weights of the finished run."""
    state, _ = load_state(joint.folder)
    exchange = DirectoryExchange(joint.folder / "exchange")

    def weights(number: int) -> Vector:
        return vector_from_bytes(get_blob(exchange, state.weights[number]), state.layout.size)

    def build(settings: dict[str, Any] | None = None, **options: Any) -> Comparison:
        use_deterministic(1)
        recipe = joint.recipe.with_values(settings or {})
        tokenizer = get_blob(exchange, state.tokenizer_sha256)
        benches = {name: Workbench(recipe, materials[name], tokenizer) for name in joint.members}
        assert state.selected is not None
        return Comparison(
            recipe,
            benches,
            initial=weights(0),
            published=weights(state.selected),
            folder=tmp_path / "compare",
            **options,
        )

    return build


def test_all_columns_with_the_steps_they_claim(comparison: Comparisons) -> None:
    told: list[dict[str, Any]] = []
    result = comparison({"evaluation.columns": ALL}, listener=told.append).run()
    steps = {column: of["anna"]["steps"] for column, of in result["columns"].items()}
    # 3 rounds of 2 steps, 2 members.
    assert steps == {
        "alone": 6,
        "alone_whole_budget": 12,
        "together": 0,
        "together_own": 2,
        "pooled": 12,
    }
    assert list(result["columns"]) == ALL
    assert [event["done"] for event in told] == list(range(1, 11))
    assert {event["total"] for event in told} == {10}
    assert result["units"]["anna"]["kind"] == "block of 2 kB"
    json.dumps(result, allow_nan=False)


def test_together_is_the_published_model_as_it_is(joint: Joint, comparison: Comparisons) -> None:
    result = comparison({"evaluation.columns": ["together"]}).run()
    state, _ = load_state(joint.folder)
    for member, scores in state.test.items():
        found = result["columns"]["together"][member]["bits_per_byte"]
        assert found == pytest.approx(scores["nll_nats"] / math.log(2) / scores["bytes"], rel=1e-12)
    assert result["differences"] == {}


def test_alone_is_plain_training_at_its_best_validated_step(comparison: Comparisons) -> None:
    compared = comparison({"evaluation.columns": ["alone"]})
    result = compared.run()["columns"]["alone"]["ben"]
    bench = compared.benches["ben"]
    set_weights(bench.model, compared.initial)
    trainer = bench.trainer(6)
    curve = [(0, bench.score("validation").bits_per_byte)]
    tests = [bench.score("test").bits_per_byte]
    for step in (2, 4, 6):
        trainer.run(2)
        curve.append((step, bench.score("validation").bits_per_byte))
        tests.append(bench.score("test").bits_per_byte)
    best = min(range(4), key=lambda i: curve[i][1])
    assert result["best_step"] == curve[best][0]
    assert result["validation_bits_per_byte"] == curve[best][1]
    assert result["bits_per_byte"] == tests[best]
    record = json.loads((compared.folder / "alone-ben.json").read_text())
    assert [tuple(point) for point in record["curve"]] == curve


def test_pooled_trains_one_model_on_the_text_of_all(comparison: Comparisons) -> None:
    compared = comparison({"evaluation.columns": ["pooled"]})
    compared.run()
    a, b = (json.loads((compared.folder / f"pooled-{m}.json").read_text()) for m in ("anna", "ben"))
    assert a["curve"] == b["curve"] and a["step"] == b["step"]
    assert [step for step, _ in a["curve"]] == [0, 4, 8, 12]
    assert a["nll_nats"] != b["nll_nats"]


@pytest.mark.parametrize("written", [1, 5, 9, 10])
def test_stopped_between_columns_it_goes_on_to_the_same_figures(
    comparison: Comparisons, monkeypatch: pytest.MonkeyPatch, joint: Joint, written: int
) -> None:
    class Stop(BaseException):
        pass

    count = 0

    def stop(path: Path, data: bytes) -> None:
        nonlocal count
        write_atomic(path, data)
        count += 1
        if count == written:
            raise Stop

    with monkeypatch.context() as patch, pytest.raises(Stop):
        patch.setattr("llmos.federation.compare.write_atomic", stop)
        comparison({"evaluation.columns": ALL}).run()
    result = comparison({"evaluation.columns": ALL}).run()
    recorded = json.loads((joint.folder / "comparison.json").read_text())
    for column, of_members in recorded["columns"].items():
        assert result["columns"][column] == of_members


def test_columns_are_chosen_on_validation_text_never_on_test_text(
    comparison: Comparisons, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The column that is better on validation is compared, though it is worse on test text."""
    compared = comparison({"evaluation.columns": ALL})
    figures = {  # validation, test
        "alone": (3.0, 9.0),
        "alone_whole_budget": (4.0, 1.0),
        "together": (2.5, 5.0),
        "together_own": (2.0, 6.0),
        "pooled": (0.5, 0.5),
    }

    def outcome(column: str) -> Outcome:
        validation, test = figures[column]
        units = np.array([test - 0.25, test + 0.25] * 20) * math.log(2) * 100
        sizes = np.full(40, 100, np.int64)
        return Outcome(validation, Scores(units, sizes, sizes), 0, 0, [])

    summary = compared._summary({c: {m: outcome(c) for m in ("anna", "ben")} for c in ALL})
    difference = summary["differences"]["anna"]
    assert (difference["alone"], difference["together"]) == ("alone", "together_own")
    assert difference["bits_per_byte"] == pytest.approx(6.0 - 9.0)
    assert difference["high"] < 0 and difference["verdict"] == "gained"


def test_one_unit_gives_no_interval_and_no_verdict(comparison: Comparisons) -> None:
    compared = comparison()
    one = Scores(np.array([5.0]), np.array([2], np.int64), np.array([4], np.int64))
    outcomes = {c: {m: Outcome(1.0, one, 0, 0, []) for m in ("anna", "ben")} for c in ALL[:3]}
    difference = compared._summary(outcomes)["differences"]["anna"]
    assert (difference["low"], difference["high"]) == (None, None)
    assert difference["verdict"] == "no clear difference"


def test_training_that_diverges_counts_up_to_its_best_step(
    comparison: Comparisons, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared = comparison({"evaluation.columns": ["alone"]})
    run = Trainer.run

    def diverge(trainer: Trainer, steps: int) -> Any:
        if trainer.step >= 4:
            raise TrainingError("the loss became nan")
        return run(trainer, steps)

    monkeypatch.setattr(Trainer, "run", diverge)
    for outcome in compared.run()["columns"]["alone"].values():
        assert outcome["best_step"] <= 4 and outcome["steps"] == 6


def test_a_perplexity_that_overflows_is_none(comparison: Comparisons) -> None:
    huge = Scores(np.array([1e6, 1e6]), np.array([2, 2], np.int64), np.array([4, 4], np.int64))
    outcomes = {"alone": {m: Outcome(1.0, huge, 0, 0, []) for m in ("anna", "ben")}}
    with np.errstate(over="ignore"):
        summary = comparison()._summary(outcomes)
    assert summary["columns"]["alone"]["ben"]["perplexity"] is None
    json.dumps(summary, allow_nan=False)


@pytest.mark.parametrize(
    ("low", "high", "word"),
    [
        (-0.2, -0.1, "gained"),
        (0.1, 0.2, "lost"),
        (-0.1, 0.1, "no clear difference"),
        (-0.1, 0.0, "no clear difference"),
        (0.0, 0.1, "no clear difference"),
        (math.nan, math.nan, "no clear difference"),
    ],
)
def test_verdicts(low: float, high: float, word: str) -> None:
    assert verdict(low, high) == word
