"""The table, the traffic, the times and the curves of a run."""

from __future__ import annotations

import json
import math
import random
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from llmos.errors import UsageError
from llmos.federation.report import (
    comparison_markdown,
    comparison_rows,
    curves,
    load_state,
    markdown_table,
    times,
    traffic,
)
from llmos.records import canonical_json

if TYPE_CHECKING:
    from tests.conftest import Joint


def figures(bits: float, ppl: float | None) -> dict[str, float | None]:
    return {"bits_per_byte": bits, "perplexity": ppl}


COMPARISON: dict[str, Any] = {
    "columns": {
        "alone": {"ben": figures(3.25, 20.5), "anna": figures(2.125, 10.0)},
        "alone_whole_budget": {"ben": figures(3.5, 30.0), "anna": figures(2.0, 9.0)},
        "together": {"ben": figures(3.0, 19.0), "anna": figures(2.5, None)},
    },
    "differences": {
        "anna": {
            "together": "together",
            "alone": "alone_whole_budget",
            "bits_per_byte": 0.5,
            "low": 0.25,
            "high": 0.75,
            "verdict": "lost",
        },
        "ben": {
            "together": "together",
            "alone": "alone",
            "bits_per_byte": -0.25,
            "low": None,
            "high": None,
            "verdict": "no clear difference",
        },
    },
}


def test_rows_and_columns_have_a_fixed_order() -> None:
    header, rows = comparison_rows(COMPARISON)
    assert header == [
        "member",
        "alone",
        "alone, whole budget",
        "together",
        "difference, 95 %",
        "verdict",
    ]
    assert rows == [
        ["anna", "2.125", "2.000", "2.500", "+0.500 (+0.250 to +0.750)",
         "lost"],
        ["ben", "3.250", "3.500", "3.000", "-0.250 (no interval: one unit)",
         "no clear difference"],
        ["mean", "2.688", "2.750", "2.750", "", ""],
    ]  # fmt: skip


def test_the_table_is_the_same_in_every_order_of_its_parts() -> None:
    draw = random.Random(0)
    text = comparison_markdown(COMPARISON)
    for _ in range(10):
        columns = [(c, draw.sample(list(of.items()), 2)) for c, of in COMPARISON["columns"].items()]
        draw.shuffle(columns)
        other = {**COMPARISON, "columns": {c: dict(of) for c, of in columns}}
        assert comparison_markdown(other) == text


def test_perplexities_stand_without_differences_of_another_unit() -> None:
    header, rows = comparison_rows(COMPARISON, "perplexity")
    assert header == ["member", "alone", "alone, whole budget", "together"]
    assert rows == [
        ["anna", "10.00", "9.00", "inf"], ["ben", "20.50", "30.00", "19.00"],
        ["mean", "15.25", "19.50", "inf"],
    ]  # fmt: skip


def test_the_table_read_back_from_the_ledger_is_the_one_in_the_folder(joint: Joint) -> None:
    state, _ = load_state(joint.folder)
    in_folder = json.loads((joint.folder / "comparison.json").read_text())
    assert state.comparison is not None
    assert comparison_markdown(state.comparison) == comparison_markdown(in_folder)
    assert json.loads(canonical_json(in_folder)) == {
        name: value for name, value in state.comparison.items() if name != "files"
    }
    assert comparison_markdown(in_folder) in (joint.folder / "model" / "README.md").read_text()


def test_markdown() -> None:
    assert markdown_table(["a", "b"], [["x", "1"], ["y", "2"]]) == (
        "| a | b |\n|---|---:|\n| x | 1 |\n| y | 2 |"
    )


def test_traffic_by_hand(joint: Joint) -> None:
    """int8 sends a byte a value and four a block of 256; bf16 gradients take two a step."""
    state, entries = load_state(joint.folder)
    values = state.layout.size
    sent = 3 * (values + 4 * math.ceil(values / 256))
    found = traffic(joint.recipe, entries)
    assert found == {
        "parameters": values,
        "bytes_sent": {"anna": sent, "ben": sent},
        "bytes_per_parameter": {"anna": sent / values, "ben": sent / values},
        "data_parallel_bytes_per_parameter": 2.0 * 3 * 2,
        "data_parallel_ratio": 12.0 * values * 2 / (2 * sent),
    }
    blobs = joint.folder / "exchange" / "blobs"
    for entry in entries:
        if entry.kind == "update_accepted":
            update = entry.body["update"]
            assert (blobs / update["update_sha256"]).stat().st_size == update["bytes"]
    assert state.comparison is not None and state.comparison["traffic"] == found


def test_traffic_before_any_update(joint: Joint) -> None:
    _, entries = load_state(joint.folder)
    found = traffic(joint.recipe, entries[:4])
    assert found["bytes_sent"] == {} and found["data_parallel_ratio"] is None


def test_times_add_up_over_all_logs_and_survive_torn_lines(tmp_path: Path) -> None:
    home = tmp_path / "members" / "anna"
    home.mkdir(parents=True)
    (tmp_path / "log.jsonl").write_text(
        '{"event":"round","seconds":{"merge":1.0,"ledger":0.5,"preparation":50}}\n'
        '{"event":"round","seco\n'
        '{"event":"round","seconds":{"merge":0.5}}\n'
    )
    (home / "log.jsonl").write_text(
        '{"event":"trained","seconds":{"training":5.0,"checkpoint":1.0,"exchange":1.0,'
        '"compression":1.0,"evaluation":7.0}}\n{"event":"trained","seconds":{"training":9'
    )
    found = times(tmp_path)
    assert found["seconds"] == {
        "checkpoint": 1.0, "compression": 1.0, "evaluation": 7.0, "exchange": 1.0, "ledger": 0.5,
        "merge": 1.5, "preparation": 50.0, "training": 5.0,
    }  # fmt: skip
    assert found["joint_share"] == 4.0 / 10.0


def test_times_of_nothing(tmp_path: Path) -> None:
    assert times(tmp_path) == {"seconds": {}, "joint_share": None}


def test_curves_count_steps_of_one_member(joint: Joint) -> None:
    state, entries = load_state(joint.folder)
    found = curves(joint.folder, entries)
    assert list(found) == ["together", "alone", "pooled"]
    assert found["together"] == [(2 * r, mean) for r, mean in sorted(state.means.items())]
    alone = [
        json.loads((joint.folder / "compare" / f"alone-{m}.json").read_text())["curve"]
        for m in ("anna", "ben")
    ]
    assert found["alone"] == [
        (a[0], math.fsum((a[1], b[1])) / 2) for a, b in zip(*alone, strict=True)
    ]
    pooled = json.loads((joint.folder / "compare" / "pooled-ben.json").read_text())["curve"]
    assert found["pooled"] == [(step / 2, value) for step, value in pooled]
    assert [step for step, _ in found["pooled"]] == [0, 2, 4, 6]


def test_curves_of_trainings_that_ended_at_different_steps(joint: Joint, tmp_path: Path) -> None:
    folder = joint.copy(tmp_path / "run")
    path = folder / "compare" / "alone-ben.json"
    record = json.loads(path.read_text())
    record["curve"] = record["curve"][:2]
    path.write_text(json.dumps(record))
    assert len(curves(folder, [])["alone"]) == 2


def test_a_folder_without_a_run_and_one_that_has_not_begun(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds no run"):
        load_state(tmp_path)
    (tmp_path / "ledger.jsonl").write_text("")
    with pytest.raises(UsageError, match="has not begun; llmos train --resume"):
        load_state(tmp_path)
