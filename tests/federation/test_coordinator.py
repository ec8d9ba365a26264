"""The coordinator against members that are broken, careless or hostile."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from llmos.errors import LedgerError, ProtocolError, UsageError
from llmos.federation.coordinator import MOST_EMPTY_ROUNDS, Coordinator
from llmos.federation.exchange.directory import DirectoryExchange
from llmos.federation.protocol import put_blob
from llmos.federation.verify import verify_run
from llmos.models.disclosure import counts_to_bytes
from llmos.provenance.signing import generate_key
from llmos.records import canonical_json
from llmos.storage import sha256_hex

if TYPE_CHECKING:
    from tests.federation.conftest import Stage

    from llmos.federation.member import Member

Stages = Callable[..., "Stage"]
KEY = "updates/00002/ben"


def merge_round_2(run: Stage) -> None:
    """Let the coordinator look at what was posted, and merge."""
    assert run.coordinator.state.is_open and "ben" not in run.coordinator.state.updates
    while run.coordinator.state.is_open:
        assert run.coordinator.step()


def refusal(run: Stage) -> str:
    """The reason for which Ben's update of round 2 is refused, from the ledger."""
    merge_round_2(run)
    (entry,) = run.kinds("update_rejected")
    assert (entry["member"], entry["round"]) == ("ben", 2)
    assert entry["manifest_sha256"] == sha256_hex(run.exchange.get(KEY) or b"")
    assert list(run.kinds("merged")[-1]["weights"].items()) == [("anna", float(1).hex())]
    return str(entry["reason"])


def vector(run: Stage, *values: float) -> np.ndarray[Any, np.dtype[np.float32]]:
    made = np.zeros(run.coordinator.state.layout.size, "<f4")
    made[: len(values)] = values
    return made


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"base_sha256": "0" * 64}, "base_sha256"),
        ({"round": 1}, "round is '1' instead of '2'"),
        ({"round": 3}, "round is '3'"),
        ({"round": True}, "round is 'True'"),
        ({"run_id": "f" * 64}, "run_id"),
        ({"version": 2}, "version"),
        ({"member": "anna"}, "member"),
        ({"recipe_sha256": "0" * 64}, "recipe_sha256"),
        ({"tokenizer_sha256": "0" * 64}, "tokenizer_sha256"),
        ({"card_sha256": "0" * 64}, "card_sha256"),
        ({"ledger_head": "f" * 64}, "another ledger"),
        ({"ledger_head": 5}, "ledger_head is '5', not a sha256"),
        ({"codec": "fp32"}, "codec is 'fp32' instead of 'int8'"),
        ({"codec": "../../x"}, "codec"),
        ({"codec": ["int8"]}, "codec"),
        ({"values": 0}, "values"),
        ({"values": -1}, "values"),
        ({"values": 2**52}, "values"),
        ({"bytes": None}, "bytes is 'None'"),
        ({"bytes": 10**15}, "bytes"),
        ({"steps": 1}, "steps"),
        ({"steps": "2"}, "steps"),
        ({"tokens": True}, "tokens is 'True'"),
        ({"tokens": -5}, "tokens is '-5'"),
        ({"tokens": 0}, "tokens is '0'"),
        ({"tokens": 129}, "not a number from 1 to 128"),
        ({"tokens": 2**53 - 1}, "tokens"),
        ({"tokens": 1.5}, "tokens"),
        ({"tokens": None}, "tokens is 'None'"),
        ({"loss_nats_per_token": "NaN"}, "loss_nats_per_token is 'NaN'"),
        ({"loss_nats_per_token": -1}, "loss_nats_per_token"),
        ({"loss_nats_per_token": 1e300}, "loss_nats_per_token"),
        ({"update_sha256": "0" * 64}, "is not in the exchange"),
        ({"update_sha256": "../../../etc/passwd"}, "not a sha256"),
        ({"update_sha256": {"a": 1}}, "not a sha256"),
        ({"declined": {"a": 1}}, "declined is"),
        ({"declined": ""}, "declined is"),
        ({"declined": "x" * 5000}, "declined is"),
        ({"declined": "tired", "round": 1}, "round is '1'"),
        ({"padding": "x" * (2 << 20)}, "more than 1048576"),
    ],
)
def test_a_manifest_that_does_not_fit_is_refused(
    in_round_2: Stage, changes: dict[str, Any], reason: str
) -> None:
    run = in_round_2
    run.change(KEY, "update", run.members["ben"].key, **changes)
    assert reason in refusal(run)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "not JSON"),
        (b"\xff\xfe\x00", "not JSON"),
        (b"hello", "not JSON"),
        (b"[1,2]", "not a JSON object"),
        (b"null", "not a JSON object"),
        (b'{"a":NaN}', "not JSON"),
        (b'{"a": 1}', "not in canonical form"),
        (b'{"a":' * 100_000, "not JSON"),
        (b'{"a":' + b"9" * 10_000 + b"}", "not JSON"),
        (b"[" * 50_000_000, "50000000 bytes, more than"),
        (b"{}", "the signer of a update is None"),
        (b'{"signature":"00","signer":"00"}', "signer"),
    ],
    ids=range(12),
)
def test_what_is_no_manifest_is_refused(in_round_2: Stage, data: bytes, reason: str) -> None:
    run = in_round_2
    run.exchange.put(KEY, data)
    assert reason in refusal(run)


def test_values_that_are_no_numbers_are_refused(stage: Stages) -> None:
    run = stage({"compression.codec": "fp32"})
    run.until_posted(KEY)
    payload = vector(run, 0.5, float("nan")).tobytes()
    run.change(KEY, "update", run.members["ben"].key, update_sha256=put_blob(run.exchange, payload))
    assert refusal(run).startswith("value 1 is nan")
    run.close()
    assert verify_run(run.folder).problems == []


def test_infinite_scales_are_refused(in_round_2: Stage) -> None:
    run = in_round_2
    honest = run.exchange.get("blobs/" + json.loads(run.exchange.get(KEY) or b"")["update_sha256"])
    assert honest is not None
    payload = np.float32("inf").tobytes() + honest[4:]
    run.change(KEY, "update", run.members["ben"].key, update_sha256=put_blob(run.exchange, payload))
    assert "the scale of value 0 is inf" in refusal(run)


def test_a_number_written_as_another_type_is_refused(in_round_2: Stage) -> None:
    """5.0 and 5 are equal in Python, have one canonical form, and only one of them is an index."""
    run = in_round_2
    signed = json.loads(run.exchange.get(KEY) or b"")
    text = canonical_json(signed)
    size = f'"values":{signed["values"]}'.encode()
    assert text.count(size) == 1
    run.exchange.put(KEY, text.replace(size, size + b".0"))
    assert "canonical" in refusal(run)


def test_a_missing_and_a_damaged_blob_are_refused(in_round_2: Stage) -> None:
    run = in_round_2
    blob = "blobs/" + json.loads(run.exchange.get(KEY) or b"")["update_sha256"]
    data = bytearray(run.exchange.get(blob) or b"")
    data[len(data) // 2] ^= 1
    run.exchange.put(blob, bytes(data))
    assert "is damaged" in refusal(run)


def test_a_forged_signature_is_refused(in_round_2: Stage, tmp_path: Path) -> None:
    run = in_round_2
    run.change(KEY, "update", generate_key(tmp_path / "key.pem"), tokens=1)
    assert "is signed by" in refusal(run)


def test_a_body_changed_after_signing_is_refused(in_round_2: Stage) -> None:
    run = in_round_2
    signed = json.loads(run.exchange.get(KEY) or b"")
    run.exchange.put(KEY, canonical_json({**signed, "tokens": signed["tokens"] - 1}))
    assert "does not verify" in refusal(run)


def test_another_members_update_is_refused(in_round_2: Stage) -> None:
    run = in_round_2
    run.exchange.put(KEY, run.exchange.get("updates/00002/anna") or b"")
    assert "is signed by" in refusal(run)


def test_a_signature_for_another_kind_of_object_is_refused(in_round_2: Stage) -> None:
    run = in_round_2
    run.change(KEY, "evaluation", run.members["ben"].key)
    assert "does not verify" in refusal(run)


def test_the_update_of_the_round_before_is_refused(in_round_2: Stage) -> None:
    run = in_round_2
    run.exchange.put(KEY, run.exchange.get("updates/00001/ben") or b"")
    assert "round is '1' instead of '2'" in refusal(run)


def test_the_update_of_somebody_not_admitted_changes_nothing(
    in_round_2: Stage, tmp_path: Path
) -> None:
    run = in_round_2
    run.exchange.put("updates/00002/eve", run.exchange.get(KEY) or b"")
    run.change("updates/00002/eve", "update", generate_key(tmp_path / "k"), member="eve")
    merge_round_2(run)
    assert sorted(run.kinds("merged")[-1]["weights"]) == ["anna", "ben"]
    assert any("'eve', who was never admitted" in p for p in verify_run(run.folder).problems)


def test_a_member_that_declines_is_left_out_of_the_round_only(in_round_2: Stage) -> None:
    run = in_round_2
    run.change(KEY, "update", run.members["ben"].key, declined="the text server is down")
    run.close()
    assert [e["update"]["declined"] for e in run.kinds("update_declined")] == [
        "the text server is down"
    ]
    assert [sorted(e["weights"]) for e in run.kinds("merged")] == [
        ["anna", "ben"],
        ["anna"],
        ["anna", "ben"],
    ]
    assert verify_run(run.folder).problems == []


def test_a_run_with_a_refused_update_ends_and_verifies(in_round_2: Stage) -> None:
    run = in_round_2
    run.exchange.put(KEY, b"garbage")
    run.close()
    assert [sorted(e["weights"]) for e in run.kinds("merged")][1] == ["anna"]
    assert verify_run(run.folder).problems == []
    log = (run.folder / "log.jsonl").read_text()
    assert '"event":"rejected","member":"ben","round":2' in log


def test_an_update_that_names_the_base_cannot_have_it_deleted(stage: Stages) -> None:
    run = stage({"compression.codec": "fp32", "publication.keep_updates": False})
    run.until_posted(KEY)
    base = run.coordinator.state.base_sha256
    first = run.coordinator.state.weights[0]
    run.change(KEY, "update", run.members["ben"].key, update_sha256=base)
    run.until(lambda: len(run.kinds("merged")) == 2)
    assert run.exchange.get(f"blobs/{base}") is not None
    run.until_posted("updates/00003/ben")
    run.change("updates/00003/ben", "update", run.members["ben"].key, update_sha256=first)
    run.close()
    assert run.exchange.get(f"blobs/{first}") is not None


def test_updates_that_are_not_kept_are_deleted_after_their_merge(stage: Stages) -> None:
    run = stage({"publication.keep_updates": False})
    run.close()
    for entry in run.kinds("update_accepted"):
        assert run.exchange.get("blobs/" + entry["update"]["update_sha256"]) is None
    problems = verify_run(run.folder).problems
    assert len(problems) == 1 and "did not keep updates" in problems[0]


def test_three_rounds_without_an_update_stop_the_run_which_can_go_on(
    stage: Stages, tmp_path: Path
) -> None:
    run = stage({"rounds.count": MOST_EMPTY_ROUNDS + 1})
    run.until(lambda: run.coordinator.state.is_open)
    for member in run.members.values():
        member.key = generate_key(tmp_path / f"{member.name}.pem")
    with pytest.raises(ProtocolError, match=r"no usable update in 3 rounds .*anna: .*ben: .*mend"):
        run.close()
    weights = [e["weights_sha256"] for e in run.kinds("merged")]
    assert len(weights) == MOST_EMPTY_ROUNDS
    assert set(weights) == {run.coordinator.state.weights[0]}

    run.coordinator = Coordinator.open(run.folder, run.exchange)
    run.members = {name: again(run, name) for name in run.members}
    # What they posted since with the wrong keys still lies there and is refused once more.
    run.close()
    assert run.kinds("merged")[-1]["round"] == MOST_EMPTY_ROUNDS + 1
    assert verify_run(run.folder).problems == []


def again(run: Stage, name: str) -> Member:
    """The member started anew from its home."""
    from llmos.federation.member import Member

    old = run.members[name]
    return Member(old.home, name, old.data, run.exchange, material=old._material)


@pytest.mark.parametrize(
    "scores",
    [
        {"nll_nats": "NaN"},
        {"nll_nats": None},
        {"nll_nats": -1.0},
        {"nll_nats": 0},
        {"nll_nats": True},
        {"nll_nats": 1e300},
        {"bytes": 0},
        {"bytes": 0.5},
        {"bytes": -7},
        {"tokens": 1.5},
        {"units": []},
        "none",
    ],
    ids=str,
)
def test_hostile_sums_are_left_out_and_told(in_round_2: Stage, scores: Any) -> None:
    run = in_round_2
    key = "evaluations/validation-00001/ben"
    honest = json.loads(run.exchange.get(key) or b"")["scores"]
    if isinstance(scores, dict):
        scores = {k: v for k, v in (honest | scores).items() if v is not None}
    run.change(key, "evaluation", run.members["ben"].key, scores=scores)
    merge_round_2(run)
    evaluated = run.kinds("evaluated")[1]
    assert [e["member"] for e in evaluated["evaluations"]] == ["anna"]
    (left_out,) = evaluated["left_out"]
    assert left_out["member"] == "ben" and left_out["reason"].startswith("scores")


def test_an_evaluation_of_another_round_or_by_another_key_is_left_out(
    stage: Stages, tmp_path: Path
) -> None:
    run = stage()
    run.until_posted("evaluations/validation-00002/ben")
    run.exchange.put(
        "evaluations/validation-00002/ben",
        run.exchange.get("evaluations/validation-00001/ben") or b"",
    )
    run.change(
        "evaluations/validation-00002/anna", "evaluation", generate_key(tmp_path / "key.pem")
    )
    run.close()
    evaluated = run.kinds("evaluated")[2]
    assert evaluated["evaluations"] == [] and evaluated["mean_bits_per_byte"] is None
    assert [e["member"] for e in evaluated["left_out"]] == ["anna", "ben"]
    assert 2 not in run.coordinator.state.means
    assert verify_run(run.folder).problems == []


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"recipe_sha256": "0" * 64}, "ben signed another recipe .*llmos recipe diff"),
        ({"card_sha256": "0" * 64}, "the data card of ben does not have the sha256 it states"),
        ({"card": [1]}, "the data card of ben is .* not an object"),
        ({"run_id": "0" * 64}, "the join of ben has run_id"),
        ({"member": "eve"}, "the join of ben has member 'eve'"),
    ],
)
def test_a_join_that_does_not_fit_stops_with_a_clear_error(
    stage: Stages, changes: dict[str, Any], reason: str
) -> None:
    run = stage()
    run.until_posted("join/ben")
    run.change("join/ben", "join", run.members["ben"].key, **changes)
    with pytest.raises(ProtocolError, match=reason):
        run.close()
    assert "ben" not in run.coordinator.state.members


@pytest.mark.parametrize(
    "card",
    [{"languages": 5}, {"languages": [5]}, {"licence": ["MIT"]}, {"synthetic": "yes"}],
    ids=str,
)
def test_a_data_card_that_no_model_card_could_show_is_refused_at_once(
    stage: Stages, card: dict[str, Any]
) -> None:
    run = stage()
    run.until_posted("join/ben")
    digest = sha256_hex(canonical_json(card))
    run.change("join/ben", "join", run.members["ben"].key, card=card, card_sha256=digest)
    with pytest.raises(ProtocolError, match=f"the data card of ben has {next(iter(card))}"):
        run.close()


def test_a_join_that_was_mended_is_admitted(stage: Stages) -> None:
    run = stage()
    run.until_posted("join/ben")
    honest = run.exchange.get("join/ben")
    run.exchange.put("join/ben", b"{}")
    with pytest.raises(ProtocolError):
        run.close()
    assert honest is not None
    run.exchange.put("join/ben", honest)
    run.coordinator = Coordinator.open(run.folder, run.exchange)
    run.close()
    assert verify_run(run.folder).problems == []


@pytest.mark.parametrize(
    ("blob", "reason"),
    [
        (counts_to_bytes({" the": 2}), "count 2 of piece ' the' is not an integer from 3"),
        (counts_to_bytes({" the": 10**6}) + b" ", "canonical"),
        (b"\x80", "not JSON"),
        (b'{"pieces":{" the":true},"version":1}', "count True"),
        (counts_to_bytes({"two words": 9}), "is not one piece"),
    ],
    ids=range(5),
)
def test_piece_counts_that_break_the_agreement_stop_the_run(
    stage: Stages, blob: bytes, reason: str
) -> None:
    run = stage()
    run.until_posted("counts/ben")
    digest = put_blob(run.exchange, blob)
    run.change("counts/ben", "counts", run.members["ben"].key, counts_sha256=digest)
    with pytest.raises(ProtocolError, match=f"^counts of ben: .*{re.escape(reason)}"):
        run.close()


@pytest.mark.parametrize(
    "changes",
    [
        {"counts_sha256": None},
        {"counts_sha256": 7},
        {"report": None},
        {"report": [1]},
        {"report": {"a": "b"}},
    ],
    ids=str,
)
def test_a_manifest_of_counts_that_is_malformed_is_a_clear_error(
    stage: Stages, changes: dict[str, Any]
) -> None:
    run = stage()
    run.until_posted("counts/ben")
    run.change("counts/ben", "counts", run.members["ben"].key, **changes)
    with pytest.raises(ProtocolError, match=f"^counts of ben: {next(iter(changes))} is"):
        run.close()


def test_a_closing_statement_about_another_ledger_is_refused(stage: Stages) -> None:
    run = stage()
    run.until_posted("closing/ben")
    run.change("closing/ben", "closing", run.members["ben"].key, head="0" * 64)
    with pytest.raises(ProtocolError, match="ben signed off another ledger"):
        run.close()


def test_a_recipe_changed_after_the_start_is_not_gone_on_with(stage: Stages) -> None:
    run = stage()
    path = run.folder / "recipe.toml"
    path.write_text(path.read_text().replace("count = 3", "count = 9"))
    with pytest.raises(ProtocolError, match="has changed since the run was opened"):
        Coordinator.open(run.folder, run.exchange)


def test_a_quorum_larger_than_the_members_is_refused(stage: Stages, tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").write_text('name = "x"\n[agreement]\nquorum = 3\n')
    with pytest.raises(UsageError, match="quorum is 3, but only 2"):
        Coordinator.start(tmp_path, DirectoryExchange(tmp_path / "exchange"), ["a", "b"])
    assert not (tmp_path / "ledger.jsonl").exists()


def test_a_second_coordinator_of_one_ledger_is_found_out(stage: Stages) -> None:
    run = stage()
    second = Coordinator.open(run.folder, run.exchange)
    run.until(lambda: len(run.entries) > 1)
    second.state.quorum = 0
    with pytest.raises(LedgerError, match="somebody else wrote to it"):
        second.step()


def test_with_a_quorum_the_run_starts_without_the_late(stage: Stages) -> None:
    run = stage({"agreement.quorum": 1})
    late = run.members.pop("ben")
    run.until(lambda: len(run.kinds("recipe_active")) == 1)
    run.members["ben"] = late
    run.close()
    assert run.kinds("recipe_active")[0]["signed_by"] == ["anna"]
    assert run.exchange.get("counts/ben") is None  # nothing of a member who takes no part
    assert [list(e["weights"]) for e in run.kinds("merged")] == [["anna"]] * 3
    assert verify_run(run.folder).problems == []


def test_an_object_signed_by_hand_counts_like_a_posted_one(in_round_2: Stage) -> None:
    """`Stage.change` without changes leaves an update that is accepted: the tests above bite."""
    run = in_round_2
    before = run.exchange.get(KEY)
    run.change(KEY, "update", run.members["ben"].key)
    assert run.exchange.get(KEY) == before
    merge_round_2(run)
    assert run.kinds("update_rejected") == [] and len(run.kinds("update_accepted")) == 4
