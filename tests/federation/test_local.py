"""A joint run gives the same bits however it is driven, stopped and resumed."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from llmos.errors import DataError, LLMOSError, RecipeError, StorageError, UsageError
from llmos.federation import local
from llmos.federation.exchange.directory import DirectoryExchange
from llmos.federation.protocol import get_blob
from llmos.federation.report import load_state
from llmos.federation.verify import verify_run
from llmos.models.arrays import get_weights, set_weights, vector_from_bytes
from llmos.provenance.ledger import Ledger
from llmos.storage import exclusive_lock
from llmos.training.material import Material
from llmos.training.workbench import Workbench

if TYPE_CHECKING:
    from tests.conftest import Joint

# Every this many-th place in which a run can be stopped is tried (the slow test tries more).
SPREAD, DENSE = 47, 3


class Stop(BaseException):
    """What stops a run in the middle: no `except` of the program catches it."""


@contextmanager
def stopped_at(monkeypatch: pytest.MonkeyPatch, number: int) -> Iterator[list[str]]:
    """Raise `Stop` at the `number`-th of: before and after each rename, put and ledger entry."""
    seen: list[str] = []

    def wrapped(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            for moment in ("before", "after"):
                seen.append(f"{moment} {name}")
                if len(seen) == number:
                    raise Stop
                if moment == "before":
                    result = function(*arguments, **options)
            return result

        return call

    with monkeypatch.context() as patch:
        patch.setattr(DirectoryExchange, "put", wrapped("put", DirectoryExchange.put))
        patch.setattr(Ledger, "append", wrapped("append", Ledger.append))
        patch.setattr(os, "replace", wrapped("rename", os.replace))
        yield seen


def stopped_in_round_3(joint: Joint, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run that ended when round 3 had just been opened."""
    append = Ledger.append

    def stop(ledger: Ledger, kind: str, body: dict[str, Any]) -> Any:
        entry = append(ledger, kind, body)
        if kind == "round_opened" and body["round"] == 3:
            raise Stop
        return entry

    with monkeypatch.context() as patch, pytest.raises(Stop):
        patch.setattr(Ledger, "append", stop)
        joint.train(folder, compare=True)
    return folder


def test_in_turn_again_gives_the_same_bits(joint: Joint, tmp_path: Path) -> None:
    assert joint.result(joint.train(tmp_path / "run", compare=True)) == joint.result(joint.folder)
    assert len(joint.result(joint.folder)) == 7


def test_another_seed_gives_other_bits(joint: Joint, tmp_path: Path) -> None:
    other = joint.result(joint.train(tmp_path / "run", {"seed": 1}))
    assert other["round 3"] != joint.result(joint.folder)["round 3"]


def resumes_to_the_same_bits(
    joint: Joint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spread: int
) -> None:
    with stopped_at(monkeypatch, 0) as seen:
        joint.train(tmp_path / "whole", compare=True)
    assert len(seen) > 250
    numbers = sorted({*range(1, len(seen), spread), len(seen) - 1, len(seen)})
    for number in numbers:
        folder = tmp_path / f"stopped-{number}"
        with stopped_at(monkeypatch, number), pytest.raises(Stop):
            joint.train(folder, compare=True)
        if (folder / "run.json").exists():
            local.resume(folder)
        else:
            joint.train(folder, compare=True)
        assert joint.result(folder) == joint.result(joint.folder), (number, seen[number - 1])
        assert verify_run(folder).problems == [], (number, seen[number - 1])
        published = {path.name for path in (joint.folder / "model").iterdir()}
        assert {path.name for path in (folder / "model").iterdir()} == published


def test_stopped_anywhere_it_goes_on_to_the_same_bits(
    joint: Joint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    resumes_to_the_same_bits(joint, tmp_path, monkeypatch, SPREAD)


@pytest.mark.slow
def test_stopped_almost_everywhere_it_goes_on_to_the_same_bits(
    joint: Joint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    resumes_to_the_same_bits(joint, tmp_path, monkeypatch, DENSE)


def test_stopped_again_and_again_it_goes_on_to_the_same_bits(
    joint: Joint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "run"
    with stopped_at(monkeypatch, 60), pytest.raises(Stop):
        joint.train(folder, compare=True)
    for stops in range(40):
        try:
            with stopped_at(monkeypatch, 61 + stops % 7):
                local.resume(folder)
            break
        except Stop:
            continue
    assert stops > 3
    assert joint.result(folder) == joint.result(joint.folder)


def test_a_finished_run_can_be_resumed_and_stays_as_it_is(joint: Joint, tmp_path: Path) -> None:
    folder = joint.copy(tmp_path / "run")
    before = (folder / "ledger.jsonl").read_bytes()
    run = local.resume(folder)
    assert (folder / "ledger.jsonl").read_bytes() == before
    assert run.comparison is not None and run.comparison["columns"].keys() == {
        "alone",
        "together",
        "together_own",
        "pooled",
    }


def test_lost_optimizer_state_is_told_and_costs_no_run(
    joint: Joint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = stopped_in_round_3(joint, tmp_path / "run", monkeypatch)
    state = folder / "members" / "ben" / "state-00003.safetensors"
    data = bytearray(state.read_bytes())
    data[-1] ^= 1
    state.write_bytes(data)
    local.resume(folder)
    continued = {
        (e.body["update"]["member"], e.body["update"]["round"]): e.body["update"]
        for e in Ledger.open(folder / "ledger.jsonl").entries
        if e.kind == "update_accepted"
    }
    assert continued["anna", 3]["optimizer_continued"] is True
    assert continued["ben", 3]["optimizer_continued"] is False
    assert joint.result(folder)["round 2"] == joint.result(joint.folder)["round 2"]
    assert joint.result(folder)["round 3"] != joint.result(joint.folder)["round 3"]
    assert verify_run(folder).problems == []


def test_text_that_changed_since_the_member_joined_is_refused(
    joint: Joint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = stopped_in_round_3(joint, tmp_path / "run", monkeypatch)
    other = tmp_path / "other"
    other.mkdir()
    for path in joint.members["ben"].iterdir():
        (other / path.name).write_bytes(path.read_bytes())
    (other / "00.txt").write_text("another text\n\n")
    settings = json.loads((folder / "run.json").read_text())
    settings["members"]["ben"] = str(other)
    (folder / "run.json").write_text(json.dumps(settings))
    with pytest.raises(DataError, match="is not the one that ben joined with: restore it"):
        local.resume(folder)


# Closed forms


def test_one_member_with_fedavg_in_fp32_is_plain_training(joint: Joint, tmp_path: Path) -> None:
    """The merge of one update is base - (base - after): `after` to one rounding in float32."""
    values = {"aggregation.strategy": "fedavg", "compression.codec": "fp32"}
    recipe = joint.recipe.with_values(values)
    run = local.train(recipe, out=tmp_path / "run", members={"self": joint.members["anna"]})
    state, _ = load_state(run.folder)
    exchange = DirectoryExchange(run.folder / "exchange")
    alone = recipe.with_values({"agreement.members": ["self"]})
    material = Material(joint.members["anna"], alone)
    bench = Workbench(alone, material, get_blob(exchange, state.tokenizer_sha256))
    set_weights(
        bench.model, vector_from_bytes(get_blob(exchange, state.weights[0]), state.layout.size)
    )
    first = get_weights(bench.model)
    trainer = bench.trainer(recipe.rounds.count * recipe.rounds.local_steps)
    trainer.run(trainer.total_steps)
    expected = get_weights(bench.model)
    data = get_blob(exchange, state.weights[recipe.rounds.count])
    merged = vector_from_bytes(data, state.layout.size)
    assert np.abs(expected - first).max() > 1e-4
    np.testing.assert_allclose(merged, expected, rtol=0, atol=2e-7)


def test_diloco_with_rate_1_and_no_momentum_is_fedavg(joint: Joint, tmp_path: Path) -> None:
    values = {"aggregation.outer_learning_rate": 1.0, "aggregation.outer_momentum": 0.0}
    diloco = joint.train(tmp_path / "a", {"aggregation.strategy": "diloco", **values})
    fedavg = joint.train(tmp_path / "b", {"aggregation.strategy": "fedavg"})
    assert joint.result(diloco) == joint.result(fedavg)
    assert joint.result(fedavg)["round 3"] != joint.result(joint.folder)["round 3"]


@pytest.mark.parametrize(
    "settings",
    [
        {"model.family": "llama", "compression.codec": "bf16", "evaluation.every": 2},
        {"model.dropout": 0.2, "evaluation.select": "last", "aggregation.weighting": "equal"},
    ],
    ids=["llama", "dropout"],
)
def test_other_recipes_resume_to_the_same_bits_and_verify(
    joint: Joint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any]
) -> None:
    whole = joint.train(tmp_path / "whole", settings)
    with stopped_at(monkeypatch, 130), pytest.raises(Stop):
        joint.train(tmp_path / "stopped", settings)
    local.resume(tmp_path / "stopped")
    assert joint.result(tmp_path / "stopped") == joint.result(whole)
    assert verify_run(whole).problems == []


def test_a_run_with_the_largest_learning_rate_ends_and_verifies(
    joint: Joint, tmp_path: Path
) -> None:
    settings = {"training.learning_rate": 10.0, "training.clip_norm": 1e6, "rounds.count": 4}
    folder = joint.train(tmp_path / "run", settings, compare=True)
    assert verify_run(folder).problems == []
    json.loads((folder / "comparison.json").read_text(), parse_constant=pytest.fail)


# What is refused before anything is written


def refused(kind: type[LLMOSError], out: Path, match: str, **arguments: Any) -> None:
    before = sorted(out.parent.rglob("*"))
    with pytest.raises(kind, match=match) as caught:
        local.train(out=out, **arguments)
    assert "\n" not in str(caught.value)
    assert sorted(out.parent.rglob("*")) == before


def test_arguments_that_do_not_fit(joint: Joint, tmp_path: Path) -> None:
    out, recipe, anna = tmp_path / "runs" / "run", joint.recipe, joint.members["anna"]
    out.parent.mkdir()
    refused(UsageError, out, "either --data PATH .* or --member", recipe=recipe)
    refused(UsageError, out, "either --data", recipe=recipe, data=anna, members=joint.members)
    refused(UsageError, out, "nobody to compare", recipe=recipe, data=anna, compare=True)
    refused(RecipeError, out, "'Bad Name'", recipe=recipe, members={"Bad Name": anna})
    refused(RecipeError, out, r"'\.\./x'", recipe=recipe, members={"../x": anna})
    refused(DataError, out, "does not exist", recipe=recipe, data=tmp_path / "nowhere")
    named = recipe.with_values({"agreement.members": ["eve", "ben"]})
    refused(UsageError, out, "names the members eve, ben", recipe=named, members=joint.members)
    large = recipe.with_values({"agreement.quorum": 3})
    refused(LLMOSError, out, "quorum = 3", recipe=large, members=joint.members)


def test_a_folder_that_holds_something_else_is_left_alone(joint: Joint, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("ten years of work")
    refused(
        UsageError,
        tmp_path / "out",
        r"other files \(thesis\.txt\)",
        recipe=joint.recipe,
        members=joint.members,
    )
    (tmp_path / "file").write_text("")
    refused(UsageError, tmp_path / "file", "is a file", recipe=joint.recipe, members=joint.members)


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"tokenizer.vocabulary_size": 100_000}, r"set vocabulary_size to at most \d+"),
        ({"tokenizer.threshold": 10**6}, "set vocabulary_size to at most 258, lower the threshold"),
        (
            {"training.sequence_length": 30_000, "model.context_length": 30_000},
            "lower training.sequence_length",
        ),
    ],
    ids=["vocabulary", "threshold", "sequence"],
)
def test_a_recipe_that_the_text_cannot_support_leaves_no_run(
    joint: Joint, tmp_path: Path, settings: dict[str, Any], match: str
) -> None:
    """The same command works once the recipe is mended."""
    refused(
        DataError,
        tmp_path / "run",
        match,
        recipe=joint.recipe.with_values(settings),
        members=joint.members,
    )


def test_too_little_disk_space(
    joint: Joint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = type("usage", (), {"free": 1000})
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage)
    refused(
        StorageError,
        tmp_path / "run",
        "only 0 MB are free",
        recipe=joint.recipe,
        members=joint.members,
    )


def test_a_run_that_another_process_works_on(joint: Joint, tmp_path: Path) -> None:
    folder = joint.copy(tmp_path / "run")
    with (
        exclusive_lock(folder / ".lock", ""),
        pytest.raises(StorageError, match="another process works on the run"),
    ):
        local.resume(folder)
    home = folder / "members" / "ben"
    with (
        exclusive_lock(home / ".lock", ""),
        pytest.raises(StorageError, match=r"another process works on the run in .*ben"),
    ):
        local.resume(folder)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"members": 5, "threads": 1, "compare": 0, "processes": 0}',
        "{",
        '{"members":{"a":"b"},"threads":1,"compare":false,"processes":false,"version":2}',
    ],
)
def test_damaged_settings(tmp_path: Path, text: str) -> None:
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(StorageError, match=r"run\.json is damaged .*restore it"):
        local.resume(tmp_path)


def test_a_folder_without_a_run(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds no run"):
        local.resume(tmp_path)


def test_an_exchange_that_was_changed_is_mended_or_told(
    joint: Joint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = stopped_in_round_3(joint, tmp_path / "run", monkeypatch)
    (folder / "exchange" / "ledger" / "00000004").write_bytes(b"other")
    state, _ = load_state(folder)
    blob = folder / "exchange" / "blobs" / state.outer["momentum"]
    kept = blob.read_bytes()
    blob.unlink()
    with pytest.raises(LLMOSError, match=f"{blob.name} is not in the exchange"):
        local.resume(folder)
    blob.write_bytes(kept)
    local.resume(folder)  # the coordinator puts its own entries back
    assert joint.result(folder) == joint.result(joint.folder)
    assert verify_run(folder).problems == []
