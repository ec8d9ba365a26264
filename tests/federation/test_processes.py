"""Members as processes, and runs that are really killed."""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from llmos.errors import DataError, StorageError
from llmos.federation import local, processes
from llmos.federation.processes import BAD_DATA, MemberProcesses, run_member
from llmos.federation.verify import verify_run
from llmos.storage import exclusive_lock

if TYPE_CHECKING:
    from tests.conftest import Joint
    from tests.federation.conftest import Stage

Command = Callable[..., tuple[int, str, str]]


def entries(folder: Path) -> int:
    path = folder / "ledger.jsonl"
    return path.read_bytes().count(b"\n") if path.exists() else 0


def kill_at(process: subprocess.Popen[str], folder: Path, number: int, delay: float) -> None:
    """SIGKILL the process soon after the ledger has `number` entries, if it still runs then."""
    while entries(folder) < number and process.poll() is None:
        time.sleep(0.002)
    time.sleep(delay)
    process.kill()
    process.communicate()


def ends_alike(joint: Joint, folder: Path, llmos: Command) -> None:
    """Resume in this process: exit code 0, the same bits as undisturbed, and all verifies."""
    if (folder / "run.json").exists():
        code, _, err = llmos("train", "--resume", str(folder))
    else:  # killed before the run began
        code, _, err = llmos(*joint.arguments(folder, "--compare"))
    assert (code, err) == (0, "")
    expected = joint.result(joint.folder)
    found = joint.result(folder)
    assert found == {name: expected[name] for name in found} and len(found) >= 6
    assert llmos("verify", str(folder))[0] == 0
    assert not [path for path in (folder / "model").iterdir() if path.name.startswith(".")]


def test_killed_three_times_a_run_goes_on_to_the_same_bits(
    joint: Joint, tmp_path: Path, llmos: Command
) -> None:
    folder = tmp_path / "run"
    draw = random.Random()
    last = entries(joint.folder)
    for number in sorted(draw.sample(range(2, last), 3)):
        exists = (folder / "run.json").exists()
        start = (
            ["train", "--resume", str(folder)] if exists else joint.arguments(folder, "--compare")
        )
        kill_at(joint.start(*start), folder, number, draw.uniform(0, 0.05))
    ends_alike(joint, folder, llmos)


def test_killed_with_its_processes_a_run_goes_on_to_the_same_bits(
    joint: Joint, tmp_path: Path, llmos: Command
) -> None:
    """The members outlive the kill for a moment; the resumed run waits for them and goes on."""
    folder = tmp_path / "run"
    process = joint.start(*joint.arguments(folder, "--processes"))
    kill_at(process, folder, random.Random().randrange(1, 16), 0.0)
    ends_alike(joint, folder, llmos)


def test_a_member_ends_when_the_process_that_started_it_is_gone(
    stage: Callable[..., Stage],
) -> None:
    """Also when that happened while the member was starting, so that it never saw it alive."""
    run = stage()
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    home = run.folder / "members" / "ben"
    run_member(home, "ben", run.texts["ben"], run.exchange.root, 1, gone.pid)
    assert run.exchange.list("join") == []


@pytest.mark.slow
@pytest.mark.parametrize("how", ["in turn", "processes"])
def test_killed_at_twenty_random_times(
    joint: Joint, tmp_path: Path, llmos: Command, how: str
) -> None:
    """Ten runs in each way, each killed twice."""
    draw = random.Random()
    more = ["--processes"] if how == "processes" else ["--compare"]
    for attempt in range(10):
        folder = tmp_path / f"run-{attempt}"
        for kill in range(2):
            exists = (folder / "run.json").exists()
            start = ["train", "--resume", str(folder)] if exists else joint.arguments(folder, *more)
            kill_at(
                joint.start(*start),
                folder,
                entries(folder) + draw.randrange(0, 14) if exists else draw.randrange(0, 14),
                draw.uniform(0, 0.3 if kill else 0.1),
            )
        ends_alike(joint, folder, llmos)


def test_a_home_that_another_process_holds(
    joint: Joint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = joint.copy(tmp_path / "run")
    home = folder / "members" / "ben"
    monkeypatch.setattr(processes, "LOCK_SECONDS", 0.1)
    with (
        exclusive_lock(home / ".lock", ""),
        pytest.raises(StorageError, match="another process is member ben"),
    ):
        run_member(home, "ben", joint.members["ben"], folder / "exchange", 1, os.getppid())


def test_a_member_whose_run_is_closed_ends_at_once(joint: Joint, tmp_path: Path) -> None:
    folder = joint.copy(tmp_path / "run")
    before = (folder / "members" / "ben" / "ledger.jsonl").read_bytes()
    home = folder / "members" / "ben"
    run_member(home, "ben", joint.members["ben"], folder / "exchange", 1, os.getppid())
    assert (home / "ledger.jsonl").read_bytes() == before
    assert verify_run(folder).problems == []


def fails_with(folder: Path, code: int, words: str) -> MemberProcesses:
    """Processes of which one prints `words` and exits with `code`."""
    (folder / "members" / "ben").mkdir(parents=True, exist_ok=True)
    made = MemberProcesses(folder, {"ben": "text"}, 1)
    script = f"import sys; print({words!r}, file=sys.stderr); sys.exit({code})"
    made._commands = {"ben": [sys.executable, "-c", script]}
    return made


@pytest.mark.parametrize(
    ("code", "kind"),
    [(1, StorageError), (BAD_DATA, DataError), (130, KeyboardInterrupt)],
)
def test_a_process_that_fails_stops_the_run_with_its_last_words(
    tmp_path: Path, code: int, kind: type[BaseException]
) -> None:
    with pytest.raises(kind) as caught, fails_with(tmp_path, code, "error: out of milk") as made:
        while True:
            made.wait(0.01)
    if code != 130:
        assert f"member ben stopped with code {code}: out of milk" in str(caught.value)


def test_processes_are_ended_when_the_run_fails(tmp_path: Path) -> None:
    made = fails_with(tmp_path, 0, "")
    made._commands = {"ben": [sys.executable, "-c", "import time; time.sleep(600)"]}
    with pytest.raises(ZeroDivisionError), made:
        raise ZeroDivisionError
    assert made._running["ben"].returncode == -signal.SIGTERM


def test_text_that_cannot_be_used_has_an_exit_code_of_its_own(
    stage: Callable[..., Stage],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = stage()
    empty = tmp_path / "empty"
    empty.mkdir()
    home, parent = str(run.folder / "members" / "ben"), str(os.getppid())
    arguments = [home, "ben", str(empty), str(run.exchange.root), "1", parent]
    monkeypatch.setattr(sys, "argv", ["processes", *arguments])
    with pytest.raises(SystemExit) as caught:
        processes.main()
    assert caught.value.code == BAD_DATA
    assert re.fullmatch(r"error: .*empty holds no text: .*\n", capsys.readouterr().err)


def test_settings_keep_the_way_a_run_was_started(joint: Joint) -> None:
    assert local.read_settings(joint.folder).processes is False
    assert local.read_settings(joint.folder).threads == 1
