"""The state of a run as a fold over its ledger."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from llmos.errors import LedgerError
from llmos.federation.report import load_state
from llmos.provenance.ledger import Entry
from llmos.provenance.run_state import RunState

if TYPE_CHECKING:
    from tests.conftest import Joint


def test_the_state_of_a_finished_run(joint: Joint) -> None:
    state, entries = load_state(joint.folder)
    assert state.phase == "closed" and state.entries == len(entries)
    assert state.head == entries[-1].hash and state.run_id == entries[0].hash
    assert sorted(state.members) == ["anna", "ben"] and state.quorum == 2
    assert sorted(state.weights) == [0, 1, 2, 3] == sorted(state.means)
    assert state.selected == state.best_round()
    assert state.test.keys() == state.members.keys()
    (parameters,) = [e.body["parameters"] for e in entries if e.kind == "model_initialised"]
    assert state.layout.size == parameters


def test_the_phases_follow_one_another(joint: Joint) -> None:
    _, entries = load_state(joint.folder)
    state, phases = RunState(), ["opening"]
    for entry in entries:
        state.apply(entry)
        if state.phase != phases[-1]:
            phases.append(state.phase)
    assert phases == [
        "opening",
        "joining",
        "counting",
        "training",
        "validating",
        "testing",
        "publishing",
        "closing",
        "closed",
    ]


def test_an_entry_stands_in_its_phase_only(joint: Joint) -> None:
    """Every entry but the right ones is refused after every beginning of the ledger."""
    _, entries = load_state(joint.folder)
    for length in range(len(entries)):
        state = RunState()
        for entry in entries[:length]:
            state.apply(entry)
        for other in entries:
            if other.kind == "evaluated" or phase_of(entries, other) == state.phase:
                continue
            with pytest.raises(LedgerError, match="does not follow entry"):
                state.apply(replace(other, index=length))


def phase_of(entries: list[Entry], entry: Entry) -> str:
    state = RunState()
    for before in entries:
        if before is entry:
            break
        state.apply(before)
    return state.phase


def test_an_entry_of_another_index_or_kind_or_without_its_parts(joint: Joint) -> None:
    _, entries = load_state(joint.folder)
    state = RunState()
    for wrong in (entries[1], replace(entries[0], kind="unheard"), replace(entries[0], index=3)):
        with pytest.raises(LedgerError, match="does not follow entry -1"):
            state.apply(wrong)
    with pytest.raises(LedgerError, match=r"entry 0 .* lacks or misstates 'recipe_sha256'"):
        state.apply(replace(entries[0], body={}))


def test_ties_go_to_the_earliest_round() -> None:
    assert RunState(means={0: 3.0, 2: 1.5, 4: 1.5, 6: 1.75}).best_round() == 2


def test_which_rounds_are_validated() -> None:
    state = RunState(rounds=7, evaluate_every=3)
    assert [r for r in range(8) if state.must_validate(r)] == [0, 3, 6, 7]
