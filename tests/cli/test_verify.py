"""`llmos verify`: exit codes, what is printed, JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from llmos.provenance.run_checks import CANNOT_PROVE

if TYPE_CHECKING:
    from tests.conftest import Joint

Command = Callable[..., tuple[int, str, str]]


def test_a_sound_run_is_exit_code_0_and_says_what_it_cannot_prove(
    joint: Joint, llmos: Command
) -> None:
    code, printed, error = llmos("verify", str(joint.folder))
    assert (code, error) == (0, "")
    lines = printed.splitlines()
    assert sum(line.startswith("ok ") for line in lines) == 12 and "FAILED" not in printed
    assert "verified: all of the above holds. What this cannot prove:" in lines
    for limit in CANNOT_PROVE:
        assert f"  - {limit}" in lines


def test_a_damaged_run_is_exit_code_1_and_names_what(
    joint: Joint, llmos: Command, tmp_path: Path
) -> None:
    run = joint.copy(tmp_path / "run")
    (run / "model" / "config.json").write_text("{}")
    code, printed, error = llmos("verify", str(run))
    assert (code, error) == (1, "")
    assert "FAILED model: " in printed and "NOT verified: 1 problem(s)." in printed
    assert "         model/config.json was changed" in printed
    assert f"  - {CANNOT_PROVE[0]}" in printed


def test_json(joint: Joint, llmos: Command, tmp_path: Path) -> None:
    code, printed, _ = llmos("verify", str(joint.folder), "--json")
    record = json.loads(printed)
    assert code == 0 and record["ok"] is True
    assert record["cannot_prove"] == list(CANNOT_PROVE)
    assert [c["name"] for c in record["checks"]][:3] == ["chain", "order", "recipe"]
    run = joint.copy(tmp_path / "run")
    (run / "recipe.toml").unlink()
    code, printed, _ = llmos("verify", str(run), "--json")
    record = json.loads(printed)
    assert code == 1 and record["ok"] is False
    problems = [problem for check in record["checks"] for problem in check["problems"]]
    assert problems == ["recipe.toml is missing"]


def test_heads_kept_elsewhere(joint: Joint, llmos: Command, tmp_path: Path) -> None:
    run = joint.copy(tmp_path / "run")
    kept = tmp_path / "anna.jsonl"
    kept.write_bytes((run / "members" / "anna" / "ledger.jsonl").read_bytes())
    assert llmos("verify", str(run), "--heads", str(kept))[0] == 0
    lines = kept.read_bytes().splitlines(keepends=True)
    for path in [run / "ledger.jsonl", *run.glob("members/*/ledger.jsonl")]:
        path.write_bytes(b"".join(lines[:-1]))
    code, printed, _ = llmos("verify", str(run), "--heads", str(kept))
    assert code == 1 and "anna.jsonl: the ledger ends at entry" in printed


def test_no_run_is_exit_code_2(llmos: Command, tmp_path: Path) -> None:
    code, printed, error = llmos("verify", str(tmp_path))
    assert (code, printed) == (2, "") and error.count("\n") == 1
    assert "holds no ledger.jsonl: give the folder of a run" in error


def test_a_ledger_alone_is_checked_as_far_as_that_goes(
    joint: Joint, llmos: Command, tmp_path: Path
) -> None:
    ledger = tmp_path / "ledger.jsonl"
    whole = (joint.folder / "ledger.jsonl").read_bytes()
    ledger.write_bytes(whole)
    code, printed, error = llmos("verify", str(ledger))
    assert (code, error) == (0, "") and "ok     closing: 2 signed by all members" in printed
    assert (
        "llmos verify RUN does" in printed
    )  # what needs the run's folder is said not to be proved
    ledger.write_bytes(whole.replace(b'"anna"', b'"hana"', 1))
    code, printed, _ = llmos("verify", str(ledger), "--json")
    assert code == 1 and not json.loads(printed)["ok"]
    code, _, error = llmos("verify", str(ledger), "--heads", str(ledger))
    assert code == 2 and "--heads needs the folder" in error
