"""Verification: a sound run passes, and every kind of damage is found and named."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from llmos.errors import LedgerError, UsageError
from llmos.federation.verify import verify_run
from llmos.provenance.ledger import Ledger
from llmos.provenance.run_checks import CANNOT_PROVE
from llmos.provenance.signing import load_key
from llmos.storage import sha256_hex

if TYPE_CHECKING:
    from tests.conftest import Joint

FLIPS = 4  # random bytes damaged in each file
PROTECTED = (
    "recipe.toml",
    "ledger.jsonl",
    "comparison.json",
    "compare/*.json",
    "members/*/recipe.toml",
    "model/*",
    "exchange/ledger/*",
    "exchange/join/*",
    "exchange/counts/*",
    "exchange/updates/*/*",
    "exchange/evaluations/*/*",
    "exchange/closing/*",
    "exchange/blobs/*",
)


@pytest.fixture
def run(joint: Joint, tmp_path: Path) -> Path:
    """A copy of the finished run, to be damaged."""
    return joint.copy(tmp_path / "run")


def problems(folder: Path, heads: tuple[Path, ...] = ()) -> list[str]:
    """What verification finds, one line each."""
    result = verify_run(folder, heads)
    assert result.ok == (not result.problems)
    assert all("\n" not in problem for problem in result.problems)
    return result.problems


def test_a_finished_run_verifies(joint: Joint) -> None:
    result = verify_run(joint.folder)
    assert result.problems == [] and result.cannot_prove == CANNOT_PROVE
    looked_at = {check.name: check.detail for check in result.checks}
    assert looked_at["merges"] == "3 recomputed"
    assert looked_at["own heads"] == "2 members' own copies"
    assert looked_at["closing"] == "2 signed by all members"
    assert looked_at["recipe"].startswith("4 ")
    result.raise_if_failed()


@pytest.mark.parametrize("pattern", PROTECTED)
def test_one_flipped_bit_in_any_protected_file_is_found_and_named(
    joint: Joint, run: Path, pattern: str
) -> None:
    draw = random.Random()
    paths = sorted(run.glob(pattern))
    assert paths
    for path in draw.sample(paths, min(len(paths), 3)):
        kept = path.read_bytes()
        for _ in range(FLIPS):
            place, bit = draw.randrange(len(kept)), draw.randrange(8)
            data = bytearray(kept)
            data[place] ^= 1 << bit
            path.write_bytes(data)
            found = problems(run)
            name = path.relative_to(run).as_posix()
            if name == "ledger.jsonl":
                line = kept[:place].count(b"\n")
                named = [f"line {line + 1}:", f"line {line + 2}:", f"entry {line} "]
            else:
                named = [name]
            assert any(n in p for n in named for p in found), (name, place, bit, found)
        path.write_bytes(kept)
    assert problems(run) == []


# A run may be handed on without the members' homes; counts and updates are bound by their blobs.
MAY_LACK = ("ledger.jsonl", "members/*/recipe.toml", "exchange/counts/*", "exchange/blobs/*")


@pytest.mark.parametrize("pattern", [p for p in PROTECTED if p not in MAY_LACK])
def test_a_protected_file_that_is_missing_is_named(run: Path, pattern: str) -> None:
    path = random.Random().choice(sorted(run.glob(pattern)))
    path.unlink()
    assert any(path.relative_to(run).as_posix() in p for p in problems(run)), path


def used_blobs(folder: Path) -> set[str]:
    """The updates that were merged."""
    return {
        e.body["update"]["update_sha256"]
        for e in Ledger.open(folder / "ledger.jsonl").entries
        if e.kind == "update_accepted"
    }


def test_each_removed_update_is_found(run: Path) -> None:
    for digest in used_blobs(run):
        blob = run / "exchange" / "blobs" / digest
        kept = blob.read_bytes()
        blob.unlink()
        assert any("cannot be read" in p and digest in p for p in problems(run))
        blob.write_bytes(kept)


def test_the_tokenizer_and_the_published_weights_must_be_there(run: Path) -> None:
    entries = Ledger.open(run / "ledger.jsonl").entries
    names = {e.body["tokenizer_sha256"] for e in entries if e.kind == "tokenizer_agreed"} | {
        e.body["weights_sha256"] for e in entries if e.kind in ("selected", "model_initialised")
    }
    assert len(names) == 3
    for digest in names:
        blob = run / "exchange" / "blobs" / digest
        kept = blob.read_bytes()
        blob.unlink()
        assert f"exchange/blobs/{digest} is missing" in problems(run)
        blob.write_bytes(kept)


def test_swapped_objects_are_found(run: Path) -> None:
    updates = run / "exchange" / "updates"
    pairs = [
        (updates / "00001" / "anna", updates / "00001" / "ben"),
        (updates / "00001" / "anna", updates / "00002" / "anna"),
        (
            run / "exchange" / "evaluations" / "validation-00001" / "ben",
            run / "exchange" / "evaluations" / "validation-00002" / "ben",
        ),
    ]
    for a, b in pairs:
        first, second = a.read_bytes(), b.read_bytes()
        a.write_bytes(second)
        b.write_bytes(first)
        found = problems(run)
        for path in (a, b):
            assert any(path.relative_to(run).as_posix() in p for p in found), found
        a.write_bytes(first)
        b.write_bytes(second)
    assert problems(run) == []


def test_added_files_are_found(run: Path) -> None:
    added = [
        "model/pytorch_model.bin",
        "model/nested/config.json",
        "model/.hidden.py",
        "exchange/blobs/" + "0" * 64,
        "exchange/ledger/00000099",
        "exchange/ledger/x",
        "exchange/updates/00001/eve",
        "exchange/updates/00009/ben",
        "exchange/notes.txt",
    ]
    (run / "exchange" / "updates" / "00009").mkdir()
    (run / "model" / "nested").mkdir()
    for name in added:
        (run / name).write_bytes((run / "model" / "config.json").read_bytes())
    found = problems(run)
    for name in added:
        assert any(name in p for p in found), (name, found)


def test_an_object_that_no_entry_holds_must_be_in_its_place(run: Path) -> None:
    """The closing statement of Ben, passed off as an update of a round that never was."""
    (run / "exchange" / "updates" / "00009").mkdir()
    for name, source in (("updates/00009/ben", "updates/00003/ben"), ("counts/ben", "counts/anna")):
        (run / "exchange" / name).write_bytes((run / "exchange" / source).read_bytes())
        assert any(f"exchange/{name}" in p for p in problems(run))


@pytest.mark.parametrize("lines", [1, 5])
@pytest.mark.parametrize("exchange_too", [False, True])
def test_a_removed_tail_is_found_by_what_the_members_kept(
    run: Path, lines: int, exchange_too: bool
) -> None:
    path = run / "ledger.jsonl"
    kept = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(kept[:-lines]))
    if exchange_too:
        for entry in sorted((run / "exchange" / "ledger").iterdir())[-lines:]:
            entry.unlink()
    found = problems(run)
    assert any("without a closing entry" in p for p in found)
    for member in ("anna", "ben"):
        assert any(f"copy of {member}: the ledger ends at entry" in p for p in found)
    heads = run.parent / "kept-elsewhere.jsonl"
    heads.write_bytes(b"".join(kept))
    for copy in run.glob("members/*/ledger.jsonl"):
        copy.unlink()
    assert not any("a tail was removed" in p for p in problems(run))
    assert any(
        "kept-elsewhere.jsonl: the ledger ends" in p and "a tail was removed" in p
        for p in problems(run, (heads,))
    )


def rewrite(folder: Path, change: Callable[[str, dict[str, Any]], None]) -> None:
    """Another history, signed by the coordinator's own key, in the ledger and the exchange.

    The members' copies are replaced too, so that only what they signed can show it.
    """
    path = folder / "ledger.jsonl"
    old = Ledger.open(path).entries
    key = load_key(folder / "coordinator" / "key.pem")
    path.unlink()
    new = Ledger.create(path, key)
    for entry in old:
        body = json.loads(json.dumps(entry.body))
        change(entry.kind, body)
        new.append(entry.kind, body)
    for entry in new.entries:
        (folder / "exchange" / "ledger" / f"{entry.index:08d}").write_bytes(entry.line)
    for copy in folder.glob("members/*/ledger.jsonl"):
        copy.write_bytes(path.read_bytes())


def test_a_chain_rewritten_by_the_coordinator_is_found_by_the_members_copies(run: Path) -> None:
    own = {path: path.read_bytes() for path in run.glob("members/*/ledger.jsonl")}

    def other_reason(kind: str, body: dict[str, Any]) -> None:
        if kind == "round_opened" and body["round"] == 2:
            body["remark"] = "never happened"

    rewrite(run, other_reason)
    elsewhere = run.parent / "head.jsonl"
    elsewhere.write_bytes(next(iter(own.values())))
    assert any("head.jsonl: entry 0 differs" in p for p in problems(run, (elsewhere,)))
    for path, data in own.items():
        path.write_bytes(data)
    found = problems(run)
    for member in ("anna", "ben"):
        assert any(
            f"copy of {member}: entry" in p and "the ledger was rewritten" in p for p in found
        )


@pytest.mark.parametrize(
    ("kind", "change", "match"),
    [
        (
            "merged",
            lambda body: body["weights"].update(anna=(0.75).hex()),
            "the weights of the members do not follow from their tokens",
        ),
        (
            "merged",
            lambda body: body.update(weights_sha256="0" * 64),
            "do not merge to the weights in the ledger",
        ),
        (
            "merged",
            lambda body: body["outer_sha256"].update(momentum="0" * 64),
            "do not merge to the weights in the ledger",
        ),
        (
            "merged",
            lambda body: body["updates"].pop("ben"),
            "the updates merged are not those that were accepted",
        ),
        (
            "update_accepted",
            lambda body: body["update"].update(tokens=1),
            "does not verify",
        ),
        (
            "evaluated",
            lambda body: body["evaluations"].pop(),
            "the mean does not follow from the members' sums",
        ),
        (
            "evaluated",
            lambda body: body.update(mean_bits_per_byte=1.0),
            "the mean does not follow from the members' sums",
        ),
        ("selected", lambda body: body.update(round=0), "was selected, but by the recipe it is"),
        ("member_admitted", lambda body: body["join"].update(card={}), "does not verify"),
        ("closed", lambda body: body["statements"].pop(), "lacks the signature of ben"),
        (
            "run_opened",
            lambda body: body["recipe"].update(seed=7),
            "does not have the sha256 stated there",
        ),
        (
            "published",
            lambda body: body["files"].pop("README.md"),
            "README.md is not in the ledger",
        ),
        ("compared", lambda body: body["files"].update({"x.json": "0"}), "x.json is missing"),
    ],
    ids=lambda value: value if isinstance(value, str) and " " not in value else "",
)
def test_a_history_that_the_coordinator_signed_must_still_follow(
    run: Path, kind: str, change: Callable[[dict[str, Any]], None], match: str
) -> None:
    rewrite(run, lambda of, body: change(body) if of == kind else None)
    found = problems(run)
    assert any(match in p for p in found), found
    if kind != "closed":
        assert any("signed off another ledger" in p for p in found)
    # Members signed the run's identity and the heads that they saw.
    assert any("belongs to another run" in p for p in found)
    assert any("had seen another ledger" in p for p in found)


@pytest.mark.parametrize(
    "body",
    [{}, {"round": "x"}, {"round": 1, "weights_sha256": 5, "outer_sha256": []}, {"layout": [[1]]}],
    ids=str,
)
@pytest.mark.parametrize("kind", ["merged", "model_initialised", "closed", "evaluated", "unheard"])
def test_entries_that_make_no_sense_are_problems_not_crashes(
    run: Path, kind: str, body: dict[str, Any]
) -> None:
    def replace(of: str, old: dict[str, Any]) -> None:
        if of == kind or (kind == "unheard" and of == "merged"):
            old.clear()
            old.update(body)

    rewrite(run, replace)
    assert problems(run)


def test_an_unfinished_run_says_so(run: Path) -> None:
    path = run / "ledger.jsonl"
    for keep in (1, 4, 12):
        lines = path.read_bytes().splitlines(keepends=True)
        path.write_bytes(b"".join(lines[:keep]))
        found = problems(run)
        assert any("the run is unfinished (llmos train --resume)" in p for p in found)
        path.write_bytes(b"".join(lines))


@pytest.mark.parametrize("data", [b"", b"\n", b"garbage", b"{}\n", b"\xff" * 100 + b"\n"])
def test_a_ledger_that_is_none(run: Path, data: bytes) -> None:
    (run / "ledger.jsonl").write_bytes(data)
    found = problems(run)
    assert found and any("ledger" in p or "line 1" in p for p in found)


def test_no_run_at_all(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"holds no ledger\.jsonl"):
        verify_run(tmp_path)


def test_a_copy_of_heads_that_shows_nothing(run: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty.jsonl"
    empty.write_text("")
    assert any("empty.jsonl holds no line" in p for p in problems(run, (empty,)))
    assert any("nowhere" in p for p in problems(run, (tmp_path / "nowhere",)))


def test_raise_if_failed_names_the_first_problem(run: Path) -> None:
    (run / "model" / "config.json").unlink()
    with pytest.raises(LedgerError, match=r"run does not verify: model/config\.json is missing"):
        verify_run(run).raise_if_failed()


def test_what_a_crash_left_behind_is_no_problem(run: Path) -> None:
    (run / "exchange" / "blobs" / (".x.77.tmp")).write_bytes(b"half")
    assert problems(run) == []


def test_blobs_have_the_names_of_their_content(joint: Joint) -> None:
    blobs = list((joint.folder / "exchange" / "blobs").iterdir())
    assert len(blobs) > 8 and all(sha256_hex(b.read_bytes()) == b.name for b in blobs)
