"""The preparation from end to end, on stories of our own."""

from __future__ import annotations

import gzip
import json
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from threading import current_thread, main_thread
from typing import Any

import pytest

from llmos.data.card import card_sha256, read_card
from llmos.data.preparation.executors import Where
from llmos.data.preparation.prepare import prepare
from llmos.data.preparation.settings import Settings
from llmos.data.sources import read_source
from llmos.data.storyworld.stories import write_stories
from llmos.errors import DataError, UsageError
from llmos.recipe import DataSection, PreparationSection, Recipe
from llmos.storage import sha256_file
from llmos.training.material import Material

# No web rules: the stories are short. Near-duplicates stay: the stories are alike by design.
RULES = PreparationSection(quality=(), near_duplicates=False)
SECRET = "the code name is Nightingale"


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Stories in two languages, with what the steps are to find among them."""
    folder = tmp_path_factory.mktemp("texts")
    write_stories(folder, 60, ["en", "fr"], seed=1)
    lines = (folder / "en.jsonl").read_text().splitlines()
    first = json.loads(lines[0])
    extra = [
        {"text": first["text"]},  # an exact repeat
        {"text": "Write to ann.example@mail.example.org about the garden and the old house."},
        {"text": f"In the tale of the garden {SECRET}, and nobody in the village knew of it."},
        {"text": "A story with CRLF.\r\nIt has two lines.   \r\n\r\n\r\n\r\nAnd a third one."},
    ]
    (folder / "more.jsonl").write_text("".join(json.dumps(line) + "\n" for line in extra))
    (folder / "broken.jsonl").write_text('{"text": "a good line about a garden"}\n{"text": \n')
    (folder / "note.txt").write_text("A note on its own, about a garden and the people in it.")
    return folder


FAKE_SBATCH = """#!{python}
import os, re, subprocess, sys
script = open(sys.argv[-1]).read()
if "merge_stats" not in script:
    first, last = map(int, re.search(r"--array=(\\d+)-(\\d+)", script).groups())
    for task in range(first, last + 1):
        subprocess.run(["bash", sys.argv[-1]], check=True, stdout=subprocess.DEVNULL,
                       env={{**os.environ, "SLURM_ARRAY_TASK_ID": str(task), "RUN_OFFSET": "0",
                            "SLURM_NODELIST": "here"}})
print("Submitted batch job 7")
"""


def files_of(folder: Path) -> dict[str, str]:
    """Every file of a prepared folder and its hash."""
    return {
        file.relative_to(folder).as_posix(): sha256_file(file)
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


def documents_of(folder: Path) -> list[dict[str, Any]]:
    return [
        json.loads(line)
        for file in sorted((folder / "documents").iterdir())
        for line in gzip.decompress(file.read_bytes()).splitlines()
    ]


@pytest.fixture(scope="module")
def settings(texts: Path) -> Settings:
    return Settings(sources=(str(texts),), rules=RULES, name="tales", chunk_bytes=20_000)


@pytest.fixture(scope="module")
def prepared(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("prepared") / "out"
    prepare(settings, out)
    return out


def test_the_card_counts_what_happened(prepared: Path) -> None:
    card = read_card(prepared)
    assert card["name"] == "tales" and card["synthetic"] is True
    assert card["read"]["documents"] == 60 + 60 + 4 + 1 + 1
    assert card["kept"]["documents"] == card["read"]["documents"] - 1
    assert card["dropped"] == {"duplicate_exact": 1}
    assert card["changed"]["personal_email"] == 1
    assert sum(card["problems"].values()) == 1
    assert {"en", "fr"} <= set(card["languages"])
    assert card["licence"] == "CC0-1.0"
    documents = documents_of(prepared)
    assert len(documents) == card["kept"]["documents"]
    assert sum(len(d["text"].encode()) for d in documents) == card["kept"]["bytes"]
    assert sum(len(d["text"]) for d in documents) == card["kept"]["characters"]
    problem = json.loads((prepared / "problems.jsonl").read_text())
    assert "broken.jsonl" in problem["path"] and "garden" not in problem["reason"]


def test_the_documents_are_clean_and_say_where_they_come_from(prepared: Path) -> None:
    documents = {d["id"]: d for d in documents_of(prepared)}
    texts = [d["text"] for d in documents.values()]
    assert not any("@" in text or "\r" in text or "   \n" in text for text in texts)
    assert sum("<EMAIL>" in text for text in texts) == 1
    assert all(d["source_name"].startswith("texts") for d in documents.values())
    assert {d["licence"] for d in documents.values()} == {"CC0-1.0"}
    assert len(documents) == len(texts)


def test_no_text_is_in_the_card(prepared: Path) -> None:
    card = (prepared / "card.md").read_text() + (prepared / "card.json").read_text()
    assert "garden" not in card and "village" not in card


def test_more_workers_and_a_second_call_give_the_same_bytes(
    settings: Settings, prepared: Path, tmp_path: Path
) -> None:
    prepare(settings, tmp_path / "two", Where(workers=2))
    assert files_of(tmp_path / "two") == files_of(prepared)
    before = files_of(prepared)
    card = prepare(settings, prepared)
    assert files_of(prepared) == before and card == read_card(prepared)
    assert card_sha256(card) == card_sha256(read_card(prepared))


def test_training_reads_the_documents_and_nothing_else(prepared: Path) -> None:
    source = read_source(prepared, DataSection(), "text")
    card = read_card(prepared)
    assert sorted(d.text for d in source.documents) == sorted(
        d["text"] for d in documents_of(prepared)
    )
    assert source.licence == "CC0-1.0" and source.synthetic and not source.skipped
    assert source.data_card_sha256 == card_sha256(card)
    material = Material(prepared, Recipe(name="x"))
    assert material.card["data_card_sha256"] == card_sha256(card)


class Stopped(Exception):
    pass


@pytest.mark.parametrize("stage", ["clean", "dedup", "write"])
def test_a_preparation_goes_on_where_it_was_stopped(
    settings: Settings, prepared: Path, tmp_path: Path, stage: str
) -> None:
    out = tmp_path / "out"

    def stop(name: str, done: int, tasks: int) -> None:
        if name == stage and done == tasks and current_thread() is main_thread():
            raise Stopped

    with pytest.raises(Stopped):
        prepare(settings, out, progress=stop)
    assert not (out / "card.json").exists()
    with pytest.raises(DataError, match="is not fully prepared"):
        read_source(out, DataSection(), "text")
    with pytest.raises(DataError, match="whose settings were others"):
        prepare(replace(settings, keep_dropped=True), out)
    prepare(settings, out)
    assert files_of(out) == files_of(prepared)


def test_sources_that_changed_meanwhile_are_told(
    texts: Path, tmp_path: Path, settings: Settings
) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for name in ("one", "two"):
        (source / f"{name}.txt").write_text(f"The story of number {name}, told at length.")
    mine = replace(settings, sources=(str(source),))

    def stop(name: str, done: int, tasks: int) -> None:
        if current_thread() is main_thread():
            raise Stopped

    with pytest.raises(Stopped):
        prepare(mine, tmp_path / "out", progress=stop)
    (source / "three.txt").write_text("A third story, which came later than the others.")
    with pytest.raises(DataError, match="whose sources were others"):
        prepare(mine, tmp_path / "out")
    card = prepare(mine, tmp_path / "out", restart=True)
    assert card is not None and card["kept"]["documents"] == 3


def test_folders_with_something_else_are_left_alone(
    settings: Settings, prepared: Path, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match="other settings"):
        prepare(replace(settings, name="other"), prepared)
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(DataError, match="is not empty"):
        prepare(settings, tmp_path)
    assert (tmp_path / "mine.txt").read_text() == "mine"


def test_protected_text_is_gone_and_the_card_proves_it(settings: Settings, tmp_path: Path) -> None:
    patterns = tmp_path / "patterns.txt"
    patterns.write_text("Nightingale\n")
    card = prepare(replace(settings, protected=str(patterns)), tmp_path / "out")
    assert card is not None
    assert card["protected"]["dropped"] == 1 and card["protected"]["left"] == 0
    assert card["protected"]["sha256"] == sha256_file(patterns)
    assert not any(SECRET in d["text"] for d in documents_of(tmp_path / "out"))


def test_evaluation_sets_are_taken_out_and_listed(
    settings: Settings, texts: Path, tmp_path: Path
) -> None:
    story = json.loads((texts / "fr.jsonl").read_text().splitlines()[3])
    evaluation = tmp_path / "evaluation.jsonl"
    evaluation.write_text(json.dumps({"text": story["text"]}) + "\n")
    card = prepare(replace(settings, decontaminate=(str(evaluation),)), tmp_path / "out")
    assert card is not None and card["dropped"]["contaminated"] >= 1
    assert card["contamination"][0]["documents"] == card["dropped"]["contaminated"]
    listed = (tmp_path / "out" / "contaminated.jsonl").read_text().splitlines()
    assert len(listed) == card["dropped"]["contaminated"]
    assert story["text"] not in [d["text"] for d in documents_of(tmp_path / "out")]


def test_what_is_dropped_is_kept_aside_where_asked(settings: Settings, tmp_path: Path) -> None:
    card = prepare(replace(settings, keep_dropped=True), tmp_path / "out")
    aside = [
        json.loads(line)
        for file in (tmp_path / "out" / "dropped").iterdir()
        for line in gzip.decompress(file.read_bytes()).splitlines()
    ]
    assert card is not None
    assert [line["dropped"] for line in aside] == ["duplicate_exact"]
    assert aside[0]["text"] in [d["text"] for d in documents_of(tmp_path / "out")]


def test_mistakes_in_the_members_files_leave_nothing_behind(
    settings: Settings, tmp_path: Path
) -> None:
    (tmp_path / "bad.txt").write_text("/(/\n")
    for changed in (
        {"protected": str(tmp_path / "bad.txt")},
        {"tokenizer": str(tmp_path / "bad.txt")},
    ):
        with pytest.raises(DataError, match=r"bad\.txt"):
            prepare(replace(settings, **changed), tmp_path / "out")  # type: ignore[arg-type]
    assert not (tmp_path / "out").exists()


def test_nothing_left_is_an_error_that_says_why(settings: Settings, tmp_path: Path) -> None:
    rules = replace(RULES, languages=("sw",))
    with pytest.raises(DataError, match=r"language_not_wanted.*--keep-dropped"):
        prepare(replace(settings, rules=rules), tmp_path / "out")


def test_slurm_is_told_what_it_needs(settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--executor-option time=04:00:00"):
        prepare(settings, tmp_path / "out", Where("slurm"))
    with pytest.raises(UsageError, match=r"--executor-option nonsense .*start_method"):
        prepare(settings, tmp_path / "out", Where(options={"nonsense": "1"}))


@pytest.mark.slow
def test_slurm_gets_a_chain_of_jobs_that_make_the_same_bytes(
    settings: Settings, prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A stand-in for sbatch: it runs each task of the job's array at once, as srun would.
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "sbatch").write_text(FAKE_SBATCH.format(python=sys.executable))
    (tools / "srun").write_text("#!/bin/sh\nwhile [ \"$1\" != launch_pickled_pipeline ]; do shift; "
                                "done\nexec \"$@\"\n")  # fmt: skip
    (tools / "scontrol").write_text("#!/bin/sh\necho here\n")
    for tool in tools.iterdir():
        tool.chmod(0o755)
    path = os.pathsep.join([str(tools), str(Path(sys.executable).parent), os.environ["PATH"]])
    monkeypatch.setenv("PATH", path)
    out = tmp_path / "out"
    options = {"time": "01:00:00", "partition": "cpu", "tasks_per_job": "100"}
    assert prepare(settings, out, Where("slurm", 2, options)) is None
    assert (out / "card.json").exists()
    prepare(settings, out)  # tidies up
    assert files_of(out) == files_of(prepared)


@pytest.mark.slow
def test_kill_9_at_any_point_changes_nothing(prepared: Path, texts: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text('name = "x"\n[preparation]\nquality = []\nnear_duplicates = false\n')
    command = [
        sys.executable, "-m", "llmos", "data", "prepare", str(texts), "--recipe", str(recipe),
        "--name", "tales", "--workers", "2", "--out",
    ]  # fmt: skip
    started = time.monotonic()
    subprocess.run([*command, str(tmp_path / "whole")], check=True)
    seconds = time.monotonic() - started
    whole = files_of(tmp_path / "whole")
    chance = random.Random(0)
    kills = ended = 0
    while kills < 12:
        out = tmp_path / f"out{ended}"
        process = subprocess.Popen([*command, str(out)], start_new_session=True)
        try:
            assert process.wait(chance.uniform(0.3, 1.1) * seconds) == 0
            assert files_of(out) == whole
            ended += 1
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            kills += 1
    subprocess.run([*command, str(out)], check=True)
    assert files_of(out) == whole


@pytest.mark.slow
def test_a_killed_worker_is_told_and_loses_nothing(texts: Path, tmp_path: Path) -> None:
    import psutil

    out = tmp_path / "out"
    big = tmp_path / "big"
    big.mkdir()
    for part in range(4):
        write_stories(big / str(part), 4000, ["en", "fr"], seed=part)
    command = [
        sys.executable, "-m", "llmos", "data", "prepare", str(big), "--out", str(out),
        "--workers", "2",
    ]  # fmt: skip
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    victim = None
    while victim is None and time.monotonic() < deadline:
        time.sleep(0.2)
        for child in psutil.Process(process.pid).children(recursive=True):
            if any(name.endswith(".tmp") for name in (f.path for f in child.open_files())):
                victim = child
    assert victim is not None
    victim.kill()
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 2
    assert "was killed" in errors and "run the same command again" in errors
    subprocess.run(command, check=True)
    assert (out / "card.json").exists()
