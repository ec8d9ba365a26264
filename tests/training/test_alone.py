"""A run alone: complete, and the same bits after any stop; what it cannot go on from it refuses."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from llmos.errors import LLMOSError, StorageError, UsageError
from llmos.provenance.ledger import Ledger
from llmos.recipe import Recipe, parse_recipe
from llmos.records import JSON, read_jsonl
from llmos.storage import sha256_file, write_atomic
from llmos.training.alone import resume_alone, start_alone
from llmos.training.loop import NotFiniteError
from llmos.training.report import is_alone, report_alone

RECIPE = """
version = 1
name = "alone"
[model]
num_layers = 1
num_heads = 2
hidden_size = 16
context_length = 32
dropout = 0.1
[tokenizer]
vocabulary_size = 300
threshold = 2
[data]
validation = 0.2
test = 0.2
[training]
batch_size = 2
sequence_length = 32
steps = 12
warmup_steps = 2
threads = 1
[rounds]
local_steps = 4
[checkpoint]
every = 3
"""
Change = Callable[[dict[str, Any]], Recipe]


def recipe(**changes: Any) -> Recipe:
    values = {name.replace("__", "."): value for name, value in changes.items()}
    return parse_recipe(RECIPE).with_values(values)


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("text")
    draw = random.Random(1)
    words = [
        "harbour",
        "lantern",
        "bicycle",
        "letter",
        "violin",
        "basket",
        "compass",
        "码头",
        "灯笼",
        "自行车",
    ]
    for number in range(24):
        lines = [" ".join(draw.choices(words, k=9)) + "." for _ in range(6)]
        (folder / f"{number:02d}.txt").write_text("\n".join(lines), "utf-8")
    return folder


@pytest.fixture(scope="module")
def whole(text: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[JSON]]:
    """A run that was never stopped, and its events. Tests only read it."""
    folder, events = tmp_path_factory.mktemp("runs") / "whole", []
    start_alone(recipe(), text, folder, listener=events.append)
    return folder, events


def published(folder: Path) -> dict[str, str]:
    """The files that must be the same whenever the run was stopped."""
    names = ("model.safetensors", "config.json", "tokenizer.json")
    return {name: sha256_file(folder / "model" / name) for name in names}


def test_a_run_leaves_a_model_checkpoints_a_log_and_a_ledger(
    whole: tuple[Path, list[JSON]],
) -> None:
    folder, events = whole
    assert is_alone(folder)
    assert [e.kind for e in Ledger.open(folder / "ledger.jsonl").entries] == [
        "alone_opened",
        "prepared",
        "trained",
        "published",
    ]
    logged = list(read_jsonl(folder / "log.jsonl"))
    assert logged == json.loads(json.dumps(events))
    steps = [e for e in events if e["event"] == "steps"]
    assert [e["step"] for e in steps] == [3, 4, 6, 8, 9, 10, 12]
    assert {e["total"] for e in steps} == {12}
    assert sum(e["tokens"] for e in steps) == 12 * 2 * 32
    for e in steps:
        assert e["bits_per_byte"] > 0 and e["tokens_per_second"] > 0 and e["memory_bytes"] > 1e6
        assert 0 < e["utilisation"] < 2
    validated = {e["step"]: e["bits_per_byte"] for e in events if e["event"] == "validated"}
    assert list(validated) == [0, 4, 8, 12]
    trained = Ledger.open(folder / "ledger.jsonl").entries[2].body
    best = min(validated, key=lambda step: (validated[step], step))
    assert trained["selected_step"] == best
    assert trained["tokens"] == 12 * 2 * 32
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(folder / "model")
    AutoTokenizer.from_pretrained(folder / "model")
    assert model.config.n_layer == 1


def test_the_published_weights_are_those_of_the_best_checkpoint(
    whole: tuple[Path, list[JSON]],
) -> None:
    folder, _ = whole
    selected = Ledger.open(folder / "ledger.jsonl").entries[2].body["selected_step"]
    (path,) = (folder / "checkpoints").glob(f"step-{selected:08d}-*.safetensors")
    kept = load_file(path)["weights"]
    arrays = load_file(folder / "model" / "model.safetensors")
    flat = np.concatenate([arrays[n].ravel() for n in sorted(arrays) if n != "lm_head.weight"])
    np.testing.assert_array_equal(flat, kept)


class Stopped(Exception):
    """Raised by a listener, as a kill would come: at any event."""


@pytest.mark.parametrize("stop", range(1, 16, 2))
def test_a_run_stopped_at_any_event_ends_in_the_same_bits(
    stop: int, whole: tuple[Path, list[JSON]], text: Path, tmp_path: Path
) -> None:
    seen = 0

    def listener(event: JSON) -> None:
        nonlocal seen
        seen += 1
        if seen == stop:
            raise Stopped

    with pytest.raises(Stopped):
        start_alone(recipe(), text, tmp_path / "run", listener=listener)
    resume_alone(tmp_path / "run")
    assert published(tmp_path / "run") == published(whole[0])
    report, expected = report_alone(tmp_path / "run"), report_alone(whole[0])
    assert report.validation == expected.validation
    assert [step for step, _ in report.training] == [step for step, _ in expected.training]


def test_going_on_with_a_finished_run_changes_nothing(
    whole: tuple[Path, list[JSON]], tmp_path: Path
) -> None:
    shutil.copytree(whole[0], tmp_path / "run")
    before = {p: p.read_bytes() for p in (tmp_path / "run").rglob("*") if p.is_file()}
    resume_alone(tmp_path / "run")
    assert {p: p.read_bytes() for p in (tmp_path / "run").rglob("*") if p.is_file()} == before


COMMAND = [sys.executable, "-m", "llmos", "train"]
QUIET = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}


def killed(command: list[str], after: float) -> bool:
    """Whether the command had to be killed after so many seconds."""
    process = subprocess.Popen(
        command, env=QUIET, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    try:
        _, errors = process.communicate(timeout=after)
        assert process.returncode == 0, errors
        return False
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.communicate()
        return True


@pytest.mark.slow
def test_kill_9_at_twenty_random_points_ends_in_the_same_bits(text: Path, tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text(recipe(training__steps=400, rounds__local_steps=50).to_toml())
    start = [*COMMAND, str(path), "--data", str(text), "--out"]
    began = time.monotonic()
    assert not killed([*start, str(tmp_path / "whole")], 600)
    usual = time.monotonic() - began
    draw, kills = random.Random(7), 0
    folder = tmp_path / "run"
    while kills < 20:
        begun = (folder / "run.json").exists()
        command = [*COMMAND, "--resume", str(folder)] if begun else [*start, str(folder)]
        if not killed(command, draw.uniform(0.4, 1.0) * usual):
            assert published(folder) == published(tmp_path / "whole")
            shutil.rmtree(folder)
        else:
            kills += 1
    if (folder / "run.json").exists():
        assert not killed([*COMMAND, "--resume", str(folder)], 600)
        assert published(folder) == published(tmp_path / "whole")


def stopped_run(text: Path, folder: Path, step: int, **changes: Any) -> Path:
    def listener(event: JSON) -> None:
        if event["event"] == "validated" and event["step"] == step:
            raise Stopped

    with pytest.raises(Stopped):
        start_alone(recipe(**changes), text, folder, listener=listener)
    return folder


def test_a_damaged_checkpoint_is_skipped_with_a_message(
    whole: tuple[Path, list[JSON]], text: Path, tmp_path: Path
) -> None:
    folder = stopped_run(text, tmp_path / "run", 8)
    newest = max((folder / "checkpoints").glob("*.safetensors"))
    data = bytearray(newest.read_bytes())
    data[len(data) // 2] ^= 1
    newest.write_bytes(data)
    events: list[JSON] = []
    resume_alone(folder, listener=events.append)
    warnings = [e["text"] for e in events if e["event"] == "warning"]
    assert warnings and newest.name in warnings[0] and "\n" not in warnings[0]
    assert published(folder) == published(whole[0])


def test_a_full_disk_leaves_the_last_good_checkpoint(
    whole: tuple[Path, list[JSON]], text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from llmos.training import checkpoints

    def full(path: Path, data: Any, **options: Any) -> None:
        if "step-00000008" in path.name:
            raise StorageError(f"no space left while writing {path}: free some disk space")
        write_atomic(path, data, **options)

    monkeypatch.setattr(checkpoints, "write_atomic", full)
    with pytest.raises(StorageError, match="no space left"):
        start_alone(recipe(), text, tmp_path / "run")
    monkeypatch.undo()
    resume_alone(tmp_path / "run")
    assert published(tmp_path / "run") == published(whole[0])


def test_another_text_is_not_gone_on_with(text: Path, tmp_path: Path) -> None:
    own = shutil.copytree(text, tmp_path / "text")
    folder = stopped_run(own, tmp_path / "run", 4)
    for path in sorted(own.glob("*.txt"))[:8]:
        path.write_text(path.read_text("utf-8").replace("violin", "piano"), "utf-8")
    with pytest.raises(UsageError, match=r"is not what .* was started with"):
        resume_alone(folder)


def test_another_recipe_is_not_gone_on_with(text: Path, tmp_path: Path) -> None:
    folder = stopped_run(text, tmp_path / "run", 4)
    write_atomic(folder / "recipe.toml", recipe(training__learning_rate=1e-2).to_toml().encode())
    with pytest.raises(LLMOSError, match="recipe"):
        resume_alone(folder)


def test_a_folder_that_is_taken_is_left_as_it_is(text: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.md").write_text("mine")
    with pytest.raises(UsageError, match="holds other files"):
        start_alone(recipe(), text, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.md"]
    with pytest.raises(UsageError, match="is a file"):
        start_alone(recipe(), text, tmp_path / "notes.md")


def test_a_loss_that_is_no_number_keeps_its_batch(text: Path, tmp_path: Path) -> None:
    changes = {"training__learning_rate": 10.0, "training__weight_decay": 10.0}
    with pytest.raises(NotFiniteError) as caught:
        start_alone(recipe(**changes, training__steps=400), text, tmp_path / "run")
    (kept,) = (tmp_path / "run").glob("batch-*.safetensors")
    assert str(kept) in str(caught.value)
    batch = load_file(kept)
    assert batch["input_ids"].shape == batch["labels"].shape == (2, 32)
    assert int(kept.stem.removeprefix("batch-")) == caught.value.step + 1
