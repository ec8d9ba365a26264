"""A member: what it posts, what it keeps, and what it refuses to follow."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from llmos.errors import LedgerError, ProtocolError, StorageError, TrainingError
from llmos.federation.member import Member
from llmos.federation.protocol import ledger_key
from llmos.federation.verify import verify_run
from llmos.models.scoring import score_texts
from llmos.provenance.ledger import Ledger
from llmos.training.loop import Trainer

if TYPE_CHECKING:
    from pathlib import Path

    from tests.federation.conftest import Stage

Stages = Callable[..., "Stage"]


def anew(run: Stage, name: str) -> Member:
    """The member started again from what lies in its home."""
    old = run.members[name]
    return Member(old.home, name, old.data, run.exchange, material=old._material)


def test_a_member_that_agreed_to_another_recipe_does_not_join(stage: Stages) -> None:
    run = stage()
    path = run.members["ben"].home / "recipe.toml"
    path.write_text(path.read_text().replace("count = 3", "count = 4"))
    run.members["ben"] = anew(run, "ben")
    with pytest.raises(ProtocolError, match="compare the two with llmos recipe diff"):
        run.close()
    assert run.exchange.get("join/ben") is None


def test_a_member_keeps_its_own_copy_of_the_ledger(in_round_2: Stage) -> None:
    run = in_round_2
    run.close()
    for member in run.members.values():
        kept = (member.home / "ledger.jsonl").read_bytes()
        assert kept == (run.folder / "ledger.jsonl").read_bytes()


def test_a_line_torn_by_a_crash_is_read_again(in_round_2: Stage) -> None:
    run = in_round_2
    path = run.members["ben"].home / "ledger.jsonl"
    path.write_bytes(path.read_bytes()[:-7])
    run.members["ben"] = anew(run, "ben")
    run.close()
    assert path.read_bytes() == (run.folder / "ledger.jsonl").read_bytes()


@pytest.mark.parametrize("damage", ["rewritten", "other key", "garbage", "skipped"])
def test_a_ledger_that_does_not_go_on_from_its_copy_is_not_followed(
    in_round_2: Stage, tmp_path: Path, damage: str
) -> None:
    run, member = in_round_2, in_round_2.members["ben"]
    entries = run.entries
    next_key = ledger_key(member.state.entries)
    entry = run.coordinator.ledger.append("merged", {"round": 2})
    data = {
        "rewritten": entry.line.replace(b'"round":2', b'"round":3'),
        "other key": entries[1].line,
        "garbage": b"\xff\x00",
        "skipped": entries[-2].line,
    }[damage]
    run.exchange.put(next_key, data)
    before = (member.home / "ledger.jsonl").read_bytes()
    with pytest.raises(LedgerError, match=r"entry \d+ "):
        member.step()
    assert (member.home / "ledger.jsonl").read_bytes() == before


def test_a_damaged_copy_is_told(in_round_2: Stage) -> None:
    path = in_round_2.members["ben"].home / "ledger.jsonl"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(LedgerError, match="compare it with another member's copy"):
        anew(in_round_2, "ben")


def test_a_copy_that_cannot_be_written_is_one_line(
    in_round_2: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, member = in_round_2, in_round_2.members["ben"]
    while run.coordinator.state.is_open:
        run.coordinator.step()
    path = member.home / "ledger.jsonl"
    path.unlink()
    path.mkdir()
    with pytest.raises(StorageError, match=r"cannot write .*ledger\.jsonl"):
        member.step()


def test_weights_that_are_not_those_of_the_ledger_are_not_trained_on(stage: Stages) -> None:
    run = stage()
    run.until(lambda: run.coordinator.state.is_open)
    base = run.coordinator.state.base_sha256
    data = bytearray(run.exchange.get(f"blobs/{base}") or b"")
    data[0] ^= 1
    run.exchange.put(f"blobs/{base}", bytes(data))
    with pytest.raises(ProtocolError, match="is damaged"):
        run.members["ben"].step()


def test_a_member_trains_a_round_once(in_round_2: Stage) -> None:
    run = in_round_2
    before = run.exchange.get("updates/00002/ben")
    run.members["ben"] = anew(run, "ben")
    assert run.members["ben"].step() is False
    assert run.exchange.get("updates/00002/ben") == before


def test_a_round_in_which_training_fails_is_declined_and_costs_no_moments(
    stage: Stages, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = stage()
    train = Trainer.run

    def fail(trainer: Trainer, steps: int) -> object:
        if run.coordinator.state.round == 2 and run.members["ben"]._trainer is trainer:
            raise TrainingError("the loss became nan by step 3: lower training.learning_rate")
        return train(trainer, steps)

    monkeypatch.setattr(Trainer, "run", fail)
    run.close()
    (declined,) = run.kinds("update_declined")
    assert declined["update"]["member"] == "ben" and declined["update"]["round"] == 2
    assert declined["update"]["declined"].startswith("the loss became nan")
    last = run.kinds("update_accepted")[-1]["update"]
    assert (last["member"], last["round"]) == ("ben", 3) and last["optimizer_continued"] is True
    assert verify_run(run.folder).problems == []


def test_weights_whose_loss_is_no_number_are_told_and_left_out(
    stage: Stages, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = stage()

    def diverged(*arguments: object, **options: object) -> object:
        scores = score_texts(*arguments, **options)  # type: ignore[arg-type]
        if run.coordinator.state.round == 2:
            return replace(scores, nll=np.full_like(scores.nll, np.nan))
        return scores

    monkeypatch.setattr("llmos.training.objectives.causal_lm.score_texts", diverged)
    run.close()
    evaluated = {body["round"]: body for body in run.kinds("evaluated")}
    assert evaluated[1]["evaluations"] == [] and len(evaluated[1]["left_out"]) == 2
    assert [len(evaluated[r]["evaluations"]) for r in (0, 2, 3)] == [2, 2, 2]
    assert 1 not in run.coordinator.state.means
    assert verify_run(run.folder).problems == []


def test_states_of_old_rounds_are_not_kept(in_round_2: Stage) -> None:
    run = in_round_2
    run.close()
    for member in run.members.values():
        names = sorted(path.name for path in member.home.glob("state-*"))
        assert names == ["state-00003.safetensors", "state-00004.safetensors"]


def test_the_log_of_a_member_tells_losses_and_no_text(in_round_2: Stage) -> None:
    log = in_round_2.members["ben"].home / "log.jsonl"
    events = [json.loads(line) for line in log.read_text().splitlines()]
    assert [e["event"] for e in events] == ["joined", "counted", "trained", "trained"]
    assert all(e["loss_nats_per_token"] > 0 for e in events if e["event"] == "trained")


def test_a_ledger_read_by_a_member_is_that_of_the_coordinator(in_round_2: Stage) -> None:
    member = in_round_2.members["ben"]
    own = Ledger.open(member.home / "ledger.jsonl").entries
    assert [e.hash for e in own] == [e.hash for e in in_round_2.entries][: len(own)]
