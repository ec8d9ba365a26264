"""`llmos runs`: the list, one run, its figures as JSON, its curves as SVG."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.conftest import Joint

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def runs(joint: Joint, tmp_path: Path) -> Path:
    """A folder with the finished run, an unfinished one, and other things."""
    joint.copy(tmp_path / "runs" / "done")
    half = joint.copy(tmp_path / "runs" / "half")
    lines = (half / "ledger.jsonl").read_bytes().splitlines(keepends=True)
    (half / "ledger.jsonl").write_bytes(b"".join(lines[:12]))
    (tmp_path / "runs" / "notes").mkdir()
    return tmp_path / "runs"


def test_the_list(runs: Path, llmos: Command) -> None:
    code, printed, error = llmos("runs", "--in", str(runs))
    assert (code, error) == (0, "")
    rows = [line for line in printed.splitlines() if "tiny" in line]
    assert len(rows) == 2
    for words in ("anna, ben", "closed", "3/3"):
        assert words in rows[0]
    assert "training" in rows[1] and "notes" not in printed


def test_one_damaged_run_does_not_hide_the_others(
    runs: Path, llmos: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = runs / "half" / "ledger.jsonl"
    path.write_bytes(b"garbage\n" + path.read_bytes())
    monkeypatch.chdir(runs)
    code, printed, error = llmos("runs")
    assert (code, error) == (0, "")
    rows = [line.split()[1:-1:2] for line in printed.splitlines() if line.startswith("│")]
    assert [row[0] for row in rows] == ["done", "half"]
    assert "closed" in printed and "damaged or not begun" in printed


def test_no_runs_and_no_folder(llmos: Command, tmp_path: Path) -> None:
    code, printed, _ = llmos("runs", "--in", str(tmp_path))
    assert code == 0 and "no runs under" in printed and "llmos train RECIPE" in printed
    code, _, error = llmos("runs", "--in", str(tmp_path / "nowhere"))
    assert code == 2 and "is not a folder" in error


def test_one_run_with_curves_table_traffic_and_times(joint: Joint, llmos: Command) -> None:
    code, printed, error = llmos("runs", "show", str(joint.folder))
    assert (code, error) == (0, "")
    for words in (
        "recipe tiny (sha256 ",
        "members anna, ben, phase closed, round 3 of 3",
        "bits per byte, held out",
        "local optimiser steps",
        "together + own",
        "perplexity per token",
        "sent in updates:",
        "time: ",
        "llmos generate",
    ):
        assert words in printed, words


def test_an_unfinished_run_says_how_to_go_on(runs: Path, llmos: Command) -> None:
    code, printed, _ = llmos("runs", "show", str(runs / "half"))
    assert code == 0 and "phase training, round 2 of 3" in printed
    assert f"unfinished: llmos train --resume {runs / 'half'}" in printed


def test_json(joint: Joint, llmos: Command) -> None:
    code, printed, _ = llmos("runs", "show", str(joint.folder), "--json")
    record = json.loads(printed)
    assert code == 0 and (record["phase"], record["round"], record["rounds"]) == ("closed", 3, 3)
    assert list(record["validation"]) == ["0", "1", "2", "3"]
    columns = json.loads((joint.folder / "comparison.json").read_text())["columns"]
    assert record["comparison"]["columns"] == columns
    assert 0 < record["times"]["joint_share"] < 1


def test_plot_is_valid_svg_with_every_curve(joint: Joint, llmos: Command, tmp_path: Path) -> None:
    file = tmp_path / "plots" / "curves.svg"
    code, printed, _ = llmos("runs", "show", str(joint.folder), "--plot", str(file))
    assert code == 0 and f"wrote {file}" in printed
    root = ElementTree.parse(file).getroot()
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    text = "".join(root.itertext())
    for words in ("together", "alone", "pooled", "bits per byte", "tiny"):
        assert words in text


def test_show_without_a_run(llmos: Command, tmp_path: Path) -> None:
    for content in (None, b""):
        if content is not None:
            (tmp_path / "ledger.jsonl").write_bytes(content)
        code, printed, error = llmos("runs", "show", str(tmp_path))
        assert (code, printed) == (2, "") and error.startswith("error: ")
        assert error.count("\n") == 1
