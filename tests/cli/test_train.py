"""`llmos train`: mistakes are one line and leave nothing behind; interruptions lose nothing."""

from __future__ import annotations

import re
import resource
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from llmos.storage import exclusive_lock

if TYPE_CHECKING:
    from tests.conftest import Joint

Command = Callable[..., tuple[int, str, str]]


def refused(llmos: Command, out: Path, *arguments: str) -> str:
    """Exit code 2, nothing on stdout, one line on stderr, nothing new on the disk; that line."""
    before = sorted(out.parent.rglob("*"))
    code, printed, error = llmos("train", *arguments)
    assert (code, printed) == (2, ""), (code, printed, error)
    assert re.fullmatch(r"error: [^\n]+\n", error), error
    assert sorted(out.parent.rglob("*")) == before
    return error


@pytest.fixture
def out(tmp_path: Path) -> Path:
    (tmp_path / "runs").mkdir()
    return tmp_path / "runs" / "run"


def test_arguments_that_do_not_fit_together(joint: Joint, llmos: Command, out: Path) -> None:
    recipe, to, anna = str(joint.recipe_file), f"--out={out}", joint.members["anna"]
    cases = {
        (): "needs RECIPE and --out RUN",
        (recipe,): "needs RECIPE and --out RUN",
        (recipe, to): "either --data PATH",
        (recipe, to, f"--data={anna}", f"--member=a={anna}"): "leave out --member, --compare",
        (recipe, to, f"--member={anna}"): "is not NAME=PATH",
        (recipe, to, f"--member=={anna}"): "is not NAME=PATH",
        (recipe, to, "--member=a="): "is not NAME=PATH",
        (recipe, to, f"--member=a={anna}", f"--member=a={anna}"): "member 'a' is named twice",
        (recipe, to, f"--member=A/B={anna}"): "'A/B' is not 1 to 40 of a-z",
        (recipe, to, f"--data={anna}", "--compare"): "--data trains alone: leave out --member",
        (recipe, to, f"--data={anna}", "--processes"): "--compare and --processes",
        (recipe, to, f"--member=a={anna}", "--compare"): "at least two members",
        (recipe, to, f"--data={anna}", "--seed=-1"): "seed = -1 is not from 0",
        (recipe, to, f"--data={anna}", "--seed=99999999999"): "seed = 99999999999",
        ("no.toml", to, f"--data={anna}"): "no.toml does not exist",
        (f"--resume={out}",): "holds no run",
        (f"--resume={out}", to): "--resume takes no --out",
        (recipe, f"--resume={out}", f"--data={anna}"): "--resume takes no RECIPE, --data",
        (f"--resume={out}", "--compare"): "--resume takes no other options",
        (f"--resume={out}", "--seed=1"): "--resume takes no --seed",
    }
    for arguments, match in cases.items():
        assert match in refused(llmos, out, *arguments), arguments


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (None, "does not exist"),
        ({}, "holds no text"),
        ({"a.pdf": b"%PDF"}, "1 files of other kinds"),
        ({"a.txt": b"  \n"}, "holds no text"),
        ({"a.txt": "Café".encode("latin-1")}, "is not UTF-8 .*iconv"),
        ({"a.txt": "Text".encode("utf-16")}, "convert it"),
        ({"a.jsonl": b'{"body": "x"}\n'}, "set data.text_field in the recipe"),
        ({"a.jsonl": b'{"text": \n'}, "line 1 is not a JSON record"),
        ({"a.jsonl.gz": b"\x1f\x8bxx"}, "damaged gzip archive"),
        ({"a.txt": b"one", "b.txt": b"two"}, "at least 3 are needed"),
    ],
    ids=range(10),
)
def test_text_that_cannot_be_used(
    joint: Joint, llmos: Command, out: Path, content: dict[str, bytes] | None, match: str
) -> None:
    folder = out.parent.parent / "texts"
    for name, data in (content or {}).items():
        folder.mkdir(exist_ok=True)
        (folder / name).write_bytes(data)
    if content == {}:
        folder.mkdir()
    members = [f"--member=anna={joint.members['anna']}", f"--member=b={folder}"]
    error = refused(llmos, out, str(joint.recipe_file), f"--out={out}", *members)
    assert re.search(match, error) and "the text of b: " in error


def test_a_file_that_may_not_be_read(
    joint: Joint, llmos: Command, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = Path.read_bytes

    def forbidden(path: Path) -> bytes:
        if path.name == "03.txt":
            raise PermissionError(13, "Permission denied", str(path))
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", forbidden)
    error = refused(llmos, out, *joint.arguments(out)[1:])
    assert "03.txt cannot be read (Permission denied)" in error


@pytest.mark.parametrize(
    ("line", "match"),
    [
        ("version = 2", "recipe version 2 is newer than this llmos understands"),
        ("training.learning_rate = nan", "training.learning_rate = nan is not a finite number"),
        ("training.learning_rate = 1e999", "training.learning_rate = inf"),
        ("rounds.count = 9223372036854775808", "rounds.count = 9223372036854775808 is not from"),
        ("model.hidden_size = 65537", "model.hidden_size = 65537"),
        ('agreement.members = ["eve", "zoe"]', "the recipe names the members eve, zoe, but anna"),
        ("agreement.quorum = 3", "agreement.quorum = 3 is more than the 2 members"),
        ("tokenizer.vocabulary_size = 90000", "set vocabulary_size to at most"),
        ("model.num_layer = 3", "did you mean model.num_layers?"),
    ],
)
def test_recipes_that_do_not_fit(
    joint: Joint, llmos: Command, out: Path, line: str, match: str
) -> None:
    key, _, value = line.partition(" = ")
    section, _, leaf = key.rpartition(".")
    lines = [
        text
        for text in joint.recipe_file.read_text().splitlines()
        if not text.startswith(f"{leaf} =")
    ]
    place = lines.index(f"[{section}]") + 1 if section else 0
    lines.insert(place, f"{leaf} = {value}")
    recipe = out.parent.parent / "recipe.toml"
    recipe.write_text("\n".join(lines))
    arguments = joint.arguments(out)[2:]
    if "vocabulary" in line:  # known only after the members have joined and counted
        code, _, error = llmos("train", str(recipe), *arguments)
        assert code == 2 and error.count("\n") == 1 and match in error
        assert list(out.parent.iterdir()) == []
        return
    assert match in refused(llmos, out, str(recipe), *arguments)


def test_a_folder_that_is_taken(joint: Joint, llmos: Command, tmp_path: Path) -> None:
    run = joint.copy(tmp_path / "runs" / "run")
    error = refused(llmos, run, *joint.arguments(run)[1:])
    assert f"already holds a run: llmos train --resume {run} goes on with it" in error
    file = tmp_path / "runs" / "file"
    file.write_text("")
    assert "is a file" in refused(llmos, file, *joint.arguments(file)[1:])
    beneath = file / "run"
    assert "file" in refused(llmos, file, *joint.arguments(beneath)[1:])


def test_no_disk_space(
    joint: Joint, llmos: Command, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("usage", (), {"free": 10}))
    assert "but only 0 MB are free" in refused(llmos, out, *joint.arguments(out)[1:])


def test_a_run_shows_what_it_does_and_what_came_of_it(
    joint: Joint, llmos: Command, out: Path
) -> None:
    code, printed, error = llmos(*joint.arguments(out, "--compare"))
    assert (code, error) == (0, "")
    assert joint.result(out) == joint.result(joint.folder)
    for words in (
        "anna: signed the recipe, admitted",
        "ben: told ",
        "rare pieces stayed",
        "one tokenizer for all",
        "training 3/3: loss ",
        "published: the weights after round",
        "comparing 8/8: pooled, ben:",
        "bits per byte (lower is better)",
        "perplexity per token",
        "sent in updates: anna 0.0 MB (3.0 bytes a parameter)",
        "exchange + compression + merge + ledger:",
        f"llmos verify {out}",
    ):
        assert words in printed, words


def test_one_organisation_alone(joint: Joint, llmos: Command, out: Path) -> None:
    code, printed, error = llmos(
        "train", str(joint.recipe_file), f"--out={out}", f"--data={joint.members['ben']}"
    )
    assert (code, error) == (0, "") and "held-out test text" in printed
    assert llmos("verify", str(out))[0] == 0


def test_seed_on_the_command_line_is_that_of_the_recipe(
    joint: Joint, llmos: Command, out: Path
) -> None:
    assert llmos(*joint.arguments(out, "--seed", "5"))[0] == 0
    assert "seed = 5" in (out / "recipe.toml").read_text()


def wait_for_round(folder: Path, number: int) -> None:
    """Wait until the run in `folder` has opened a round."""
    key = folder / "exchange" / "updates" / f"{number:05d}"
    deadline = time.monotonic() + 120
    while not key.exists() and time.monotonic() < deadline:
        time.sleep(0.005)
    assert key.exists()


LONG = "1000"
"""Rounds of a run that is still at work when something happens to it."""


def long_run(joint: Joint, out: Path) -> list[str]:
    recipe = out.parent.parent / "long.toml"
    values = {"rounds.count": int(LONG), "evaluation.every": int(LONG)}
    recipe.write_text(joint.recipe.with_values(values).to_toml())
    return ["train", str(recipe), *joint.arguments(out)[2:]]


def test_ctrl_c_says_how_to_go_on_and_a_second_coordinator_is_turned_away(
    joint: Joint, llmos: Command, out: Path
) -> None:
    process = joint.start(*long_run(joint, out))
    try:
        wait_for_round(out, 2)
        code, printed, error = llmos("train", "--resume", str(out))
        assert (code, printed) == (2, "")
        assert error == (
            f"error: another process works on the run in {out}: wait for it or stop it\n"
        )
        code, _, error = llmos(*long_run(joint, out))
        assert code == 2 and "already holds a run" in error
        assert process.poll() is None  # the first goes on
        rounds = len(list((out / "exchange" / "updates").iterdir()))
        wait_for_round(out, rounds + 2)
        process.send_signal(signal.SIGINT)
        printed, error = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130 and error == ""
    assert f"go on with: llmos train --resume {out}\n" in printed
    code, _, error = llmos("verify", str(out))
    assert code == 1
    # Interrupted once more, in this process: it went on where it stood.
    done = (out / "ledger.jsonl").read_bytes()

    class Enough(BaseException):
        pass

    from llmos.federation import local

    def listener(event: dict[str, object]) -> None:
        if event["event"] == "round":
            raise Enough

    with pytest.raises(Enough):
        local.resume(out, listener)
    assert (out / "ledger.jsonl").read_bytes().startswith(done)


def test_a_file_that_grows_no_more_stops_the_run_which_goes_on_with_space(
    joint: Joint, llmos: Command, out: Path
) -> None:
    """A limit on the size of files stands for a full disk: the ledger reaches it in mid-run."""
    limit = len((joint.folder / "ledger.jsonl").read_bytes()) * 2 // 3
    assert limit > joint.recipe_file.stat().st_size

    def restrict() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    process = joint.start(*joint.arguments(out, "--compare"), preexec_fn=restrict)
    _, error = process.communicate(timeout=120)
    assert process.returncode == 2
    assert re.fullmatch(r"error: no space left while writing [^\n]+ and resume; [^\n]+\n", error)
    assert (out / "run.json").exists()
    code, _, error = llmos("train", "--resume", str(out))
    assert (code, error) == (0, "")
    assert joint.result(out) == joint.result(joint.folder)
    assert llmos("verify", str(out))[0] == 0
    assert llmos("runs", "show", str(out))[0] == 0


def test_an_interrupt_before_the_run_began_does_not_promise_one(
    joint: Joint, llmos: Command, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("llmos.federation.local.Material", interrupt)
    code, printed, _ = llmos(*joint.arguments(out))
    assert code == 130 and "the run had not begun" in printed and not out.exists()


def test_a_lock_of_nobody_does_not_count(joint: Joint, llmos: Command, tmp_path: Path) -> None:
    run = joint.copy(tmp_path / "run")
    with exclusive_lock(run / ".lock", ""):
        assert llmos("train", "--resume", str(run))[0] == 2
    assert llmos("train", "--resume", str(run))[0] == 0
