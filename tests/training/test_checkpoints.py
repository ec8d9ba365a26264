"""Checkpoints come back whole, survive kills and full disks, and never pass off damage as whole."""

from __future__ import annotations

import errno
import json
import os
import random
import signal
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from safetensors.numpy import load_file

import llmos
from llmos.errors import StorageError, UsageError
from llmos.storage import sha256_hex
from llmos.training.checkpoints import Checkpoint, Checkpoints

Arrays = dict[str, npt.NDArray[Any]]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(str(llmos.__file__)).parent.parent)}


def some_arrays(seed: int) -> Arrays:
    draw = np.random.default_rng(seed)
    return {
        "weights/h.0": draw.normal(size=(7, 5)).astype(np.float32),
        "optimizer/step": np.array(seed, np.int64),
        "rng": draw.integers(0, 256, 33).astype(np.uint8),
    }


def fill(folder: Path, *steps: int, **options: Any) -> Checkpoints:
    checkpoints = Checkpoints(folder, **options)
    for step in steps:
        checkpoints.save(step, some_arrays(step), {"at": step})
    return checkpoints


def same(a: Arrays, b: Arrays) -> bool:
    """The same names, types, shapes and bits (so that NaN equals itself, and 0 not -0)."""
    return a.keys() == b.keys() and all(
        a[n].dtype == b[n].dtype and a[n].shape == b[n].shape and a[n].tobytes() == b[n].tobytes()
        for n in a
    )


def is_step(found: Checkpoint | None, step: int) -> bool:
    """Whether `found` is what `fill` saved at this step, whole."""
    assert found is not None
    right = (found.step, found.facts) == (step, {"at": step})
    return right and same(found.arrays, some_arrays(step))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def arrays_file(folder: Path, step: int) -> Path:
    return next(folder.glob(f"step-{step:08d}-*.safetensors"))


def fail(message: str) -> None:
    pytest.fail(f"unexpected warning: {message}")


def test_what_was_saved_comes_back(tmp_path: Path) -> None:
    arrays: Arrays = {
        "a number": np.array(-0.0, np.float32),
        "nothing": np.zeros((0, 3), np.int64),
        "large": np.array([2**63 - 1, -(2**63)], np.int64),
        "not C order": np.arange(6, dtype=np.float64).reshape(2, 3).T,
        "every other": np.arange(9, dtype=np.int32)[::2],
        "gewichte/ä/权重": np.array([np.nan, np.inf, 1e-45], np.float32),
    }
    facts = {"data": {"seen": [3, 1]}, "philox": 2**127 + 1, "rate": 0.1, "名": None, "on": True}
    before = {name: array.copy() for name, array in arrays.items()}
    big_endian = {"big": np.array([1.5, -2], ">f4")}
    path = Checkpoints(tmp_path).save(12, {**arrays, **big_endian}, facts, score=1.25)
    assert path == tmp_path / "step-00000012.jsonl"
    found = Checkpoints(tmp_path).latest(fail)
    assert found is not None and same(arrays, before)
    assert (found.step, found.score, found.facts) == (12, 1.25, facts)
    arrays_file(tmp_path, 12).write_bytes(b"\0" * 1000)  # the arrays are no views of the file
    assert same(found.arrays, {**before, "big": np.array([1.5, -2], "<f4")})
    for array in found.arrays.values():
        assert array.flags.writeable and array.flags.aligned and array.flags.c_contiguous


DTYPES = st.sampled_from("dfeqihbQIHB?").map(np.dtype)
SHAPES = hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(st.text(max_size=9), hnp.arrays(DTYPES, SHAPES), max_size=6))
@example({})
@example({"": np.zeros((), np.float32)})
def test_any_names_types_and_shapes_come_back(
    tmp_path_factory: pytest.TempPathFactory, arrays: Arrays
) -> None:
    folder = tmp_path_factory.mktemp("any")
    checkpoints = Checkpoints(folder)
    checkpoints.save(0, arrays, {})
    found = checkpoints.latest(fail)
    assert found is not None and same(found.arrays, arrays)
    # The reference: what the library reads.
    assert same(load_file(arrays_file(folder, 0)), arrays)
    data = arrays_file(folder, 0).read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    for name, entry in json.loads(data[8:start]).items():  # aligned, for readers that map the file
        assert (start + entry["data_offsets"][0]) % arrays[name].itemsize == 0


def test_saving_and_loading_take_one_copy_of_the_arrays(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    arrays = {f"a/{i}": np.ones(1 << 20, np.float32) for i in range(4)}
    size = 16 << 20
    tracemalloc.start()
    try:
        checkpoints.save(1, arrays, {})
        saving = tracemalloc.get_traced_memory()[1]
        tracemalloc.reset_peak()
        assert checkpoints.latest(fail) is not None
        loading = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert size < saving < 1.2 * size and size < loading < 1.2 * size


def test_what_cannot_be_saved_is_one_line(tmp_path: Path) -> None:
    checkpoints = fill(tmp_path, 1)
    refused: list[tuple[int, Arrays, Any, str]] = [
        (2, {"x": np.zeros(2, np.complex128)}, {}, "'x' of complex128"),
        (2, {"x": np.array(["text"])}, {}, "'x' of <U4"),
        (2, {"__metadata__": np.zeros(2)}, {}, "'__metadata__'"),
        (2, {}, {"a": np.zeros(2)}, "plain JSON"),
        (2, {}, {"a": float("nan")}, "plain JSON"),
        (2, {}, {"a": (1, 2)}, "plain JSON"),  # would come back as a list
        (2, {}, {"a": {1: 2}}, "plain JSON"),  # would come back as text
        (-1, {}, {}, "step is -1"),
    ]
    for step, arrays, facts, message in refused:
        with pytest.raises(UsageError, match=message) as caught:
            checkpoints.save(step, arrays, facts)
        assert "\n" not in str(caught.value)
    with pytest.raises(UsageError, match="keep_last is 0"):
        Checkpoints(tmp_path, keep_last=0)
    assert list(checkpoints.list()) == [(1, None)]


def test_an_empty_or_missing_folder_has_none(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "not/there"):
        found = Checkpoints(folder)
        assert (found.latest(fail), found.best(fail), list(found.list())) == (None, None, [])
    assert names(tmp_path) == []


@pytest.mark.parametrize("keep_best", [True, False])
def test_the_last_and_the_best_are_kept(tmp_path: Path, keep_best: bool) -> None:
    checkpoints = Checkpoints(tmp_path, keep_last=3, keep_best=keep_best)
    scores = [float("nan"), 3.0, 1.5, 2.0, None, 1.5, 4.0, 5.0, 1.0, float("-inf"), 2.0, 2.0, 2.0]
    done: list[tuple[int, float | None]] = []
    for step, score in enumerate(scores):
        checkpoints.save(step, some_arrays(step), {"at": step}, score=score)
        done.append((step, score if score is not None and np.isfinite(score) else None))
        seen = [pair for pair in (done if keep_best else done[-3:]) if pair[1] is not None]
        best = sorted(seen, key=lambda pair: (pair[1], pair[0]))[:1]  # the earliest of equals
        assert list(checkpoints.list()) == sorted({*best, *done[-3:]})
        assert len(names(tmp_path)) == 2 * len(checkpoints.list())
        assert is_step(checkpoints.latest(fail), step)
        found = checkpoints.best(fail)
        assert best == ([] if found is None else [(found.step, found.score)])
        assert found is None or is_step(found, found.step)


def test_a_step_saved_again_replaces_the_one_before(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(7, {"a": np.zeros(3)}, {"try": 1}, score=1.0)
    for attempt, values in ((2, np.ones(3)), (3, np.ones(3))):  # other arrays, the same arrays
        checkpoints.save(7, {"a": values}, {"try": attempt})
        found = checkpoints.latest(fail)
        assert found is not None and found.facts == {"try": attempt}
        assert same(found.arrays, {"a": values})
        assert list(checkpoints.list()) == [(7, None)] and len(names(tmp_path)) == 2


def test_training_that_went_back_leaves_no_later_steps(tmp_path: Path) -> None:
    checkpoints = fill(tmp_path, 10, 20, 30)
    arrays_file(tmp_path, 30).write_bytes(b"damaged")
    assert is_step(checkpoints.latest(lambda message: None), 20)
    assert list(fill(tmp_path, 25).list()) == [(20, None), (25, None)]
    assert is_step(checkpoints.latest(fail), 25)


def test_files_of_others_are_left_alone(tmp_path: Path) -> None:
    others = ["notes.txt", "step-1.jsonl", "step-00000001.json", "astep-00000001.jsonl", ".lock"]
    for name in others:
        (tmp_path / name).touch()
    checkpoints = fill(tmp_path, 1, 2, 99_999_999, 100_000_000)
    assert list(checkpoints.list()) == [(99_999_999, None), (100_000_000, None)]
    assert set(names(tmp_path)) > set(others) and len(names(tmp_path)) == len(others) + 4


def assert_skipped(folder: Path, to: int, path: Path, reason: str) -> None:
    """`latest` is of step `to`, after one line about `path`."""
    messages: list[str] = []
    assert is_step(Checkpoints(folder).latest(messages.append), to)
    assert len(messages) == 1 and str(path) in messages[0] and reason in messages[0]
    assert "\n" not in messages[0]


def test_every_damage_to_a_file_is_found(tmp_path: Path) -> None:
    fill(tmp_path, 1, 2)
    draw = random.Random(0)
    for path in (tmp_path / "step-00000002.jsonl", arrays_file(tmp_path, 2)):
        whole = path.read_bytes()
        size = len(whole)
        for position in range(size):  # one bit flipped
            damaged = bytearray(whole)
            damaged[position] ^= 1 << draw.randrange(8)
            path.write_bytes(damaged)
            assert_skipped(tmp_path, 1, path, "is damaged: its sha256 is not the recorded one")
        # All zeros are what some file systems leave after a power cut.
        for data in (b"\0" * size, draw.randbytes(size), whole[::-1]):
            path.write_bytes(data)
            assert_skipped(tmp_path, 1, path, "is damaged")
        cut = [whole[:length] for length in {0, 1, 7, 8, size - 1, *draw.sample(range(size), 30)}]
        for data in (*cut, whole + b"\0", whole + whole):
            path.write_bytes(data)
            reason = "damaged" if path.suffix == ".jsonl" else f"has {len(data)} bytes instead of"
            assert_skipped(tmp_path, 1, path, reason)
        path.unlink()
        assert_skipped(tmp_path, 1, path, "is missing")
        path.write_bytes(whole)
        assert is_step(Checkpoints(tmp_path).latest(fail), 2)


def test_no_whole_one_left_is_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    checkpoints = fill(tmp_path, 1, 2, 3, keep_last=3)
    arrays_file(tmp_path, 1).unlink()
    arrays_file(tmp_path, 2).write_bytes(b"")
    (tmp_path / "step-00000003.jsonl").write_text("{}")
    assert checkpoints.latest() is None
    lines = capsys.readouterr().err.splitlines()
    starts = [f"skipped the checkpoint of step {step}" for step in (3, 2, 1)]
    assert [line.split(":")[0] for line in lines] == starts


def test_a_damaged_best_gives_way_to_the_next_best(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, keep_last=4)
    for step, score in enumerate([2.0, 1.0, 3.0, 4.0]):
        checkpoints.save(step, some_arrays(step), {"at": step}, score=score)
    arrays_file(tmp_path, 1).write_bytes(arrays_file(tmp_path, 0).read_bytes())
    messages: list[str] = []
    assert is_step(checkpoints.best(messages.append), 0)
    assert len(messages) == 1 and "step 1: " in messages[0]


def test_a_checkpoint_of_a_newer_version_is_skipped_and_stays(tmp_path: Path) -> None:
    fill(tmp_path, 1, 5)
    path = tmp_path / "step-00000005.jsonl"
    line = path.read_bytes().split(b"\n")[0].replace(b'"version": 1', b'"version": 2')
    path.write_bytes(line + b'\n{"sha256": "%b"}\n' % sha256_hex(line).encode())
    assert_skipped(tmp_path, 1, path, "version 2, this LLMOS reads up to 1: update LLMOS")
    fill(tmp_path, 2, 3, 4, 6, 7)
    assert path.exists() and arrays_file(tmp_path, 5).exists()
    assert list(Checkpoints(tmp_path).list()) == [(6, None), (7, None)]


def test_a_damaged_checkpoint_is_not_counted_among_the_last(tmp_path: Path) -> None:
    fill(tmp_path, 1, 2, 3, keep_last=3)
    arrays_file(tmp_path, 2).write_bytes(b"")
    (tmp_path / "step-00000003.jsonl").write_text("{}")
    assert list(fill(tmp_path, 4).list()) == [(1, None), (4, None)]
    assert len(names(tmp_path)) == 4


START = """
import os, resource, shutil, signal, sys, tempfile
from pathlib import Path
import numpy as np
from llmos.errors import StorageError
from llmos.training.checkpoints import Checkpoints
"""


def start(code: str, *arguments: object) -> subprocess.Popen[str]:
    """`code` after START, as a process of its own."""
    command = [sys.executable, "-c", START + code, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=ENVIRONMENT)


LOOP = """
checkpoints = Checkpoints(Path(sys.argv[1]))
latest = checkpoints.latest(lambda message: None)
step = latest.step if latest else 0
while True:
    step += 1
    for attempt in (1, 2):  # each step is saved twice, with other arrays
        value = 10 * step + attempt
        checkpoints.save(step, {"a": np.full(300_000, value)}, {"value": value}, score=step)
        print(value, flush=True)
"""


@pytest.mark.slow
def test_a_kill_at_any_time_leaves_the_last_finished_one_whole(tmp_path: Path) -> None:
    draw = random.Random(1)
    finished = 0
    for _ in range(20):
        with start(LOOP, tmp_path) as process:
            assert process.stdout is not None
            first = process.stdout.readline()
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(draw.uniform(0, 0.2))
            process.send_signal(signal.SIGKILL)
            # What the pipe still holds was finished too; only its last line may be torn.
            lines = [first, *process.stdout.read().splitlines(keepends=True)]
        finished = max(finished, *(int(line) for line in lines if line.endswith("\n")))
        found = Checkpoints(tmp_path).latest(lambda message: None)
        assert found is not None and found.facts["value"] >= finished
        assert found.step == found.facts["value"] // 10
        assert same(found.arrays, {"a": np.full(300_000, found.facts["value"])})
        best = Checkpoints(tmp_path).best(lambda message: None)
        assert best is not None and (best.step, best.score) == (1, 1.0)
    fill(tmp_path, finished // 10 + 2)
    assert len(names(tmp_path)) == 4 + 2  # the last two and the best; nothing else is left


# Kills itself before the n-th call that changes what is in the folder.
DIE = """
left = int(sys.argv[3])

def count(event, arguments):
    global left
    if event in ("os.rename", "os.remove") or event == "open" and arguments[2] & os.O_ACCMODE:
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(count)
Checkpoints(Path(sys.argv[1])).save(int(sys.argv[2]), {"new": np.ones(3)}, {"new": True})
"""


def assert_old_or_new(folder: Path, step: int) -> bool:
    """`latest` is whole, and the old one or the new one of this step; whether it is the new one."""
    found = Checkpoints(folder).latest(lambda message: None)
    assert found is not None
    is_new = found.step == step and found.facts == {"new": True}
    assert same(found.arrays, {"new": np.ones(3)}) if is_new else is_step(found, 2)
    return is_new


@pytest.mark.parametrize("step", [3, 2, 1], ids=["a new step", "the same step", "an earlier step"])
def test_a_kill_before_any_change_leaves_the_old_or_the_new(tmp_path: Path, step: int) -> None:
    for calls in range(20):
        folder = tmp_path / str(calls)
        fill(folder, 1, 2)
        with start(DIE, folder, step, calls) as process:
            process.communicate()
        is_new = assert_old_or_new(folder, step)
        assert process.returncode == -signal.SIGKILL or (is_new and process.returncode == 0)
        # Removals stop between checkpoints or leave arrays alone, never a `.jsonl` alone.
        assert len(list(folder.glob("step-*.jsonl"))) == len(Checkpoints(folder).list())
        assert len(fill(folder, 4).list()) == 2 and len(names(folder)) == 4
        if process.returncode == 0:
            break
    assert 5 <= calls < 19  # two files opened and renamed, at least one removed


@contextmanager
def untouched(folder: Path) -> Iterator[None]:
    before = {name: (folder / name).read_bytes() for name in names(folder)}
    yield
    assert {name: (folder / name).read_bytes() for name in names(folder)} == before


def test_too_little_space_is_told_before_anything_is_written(tmp_path: Path) -> None:
    checkpoints = fill(tmp_path, 1, 2)
    with (
        untouched(tmp_path),
        mock.patch("shutil.disk_usage", return_value=mock.Mock(free=1_000_000)),
        pytest.raises(StorageError, match=r"step 3 needs about 4 MB in .* only 1 MB are free"),
    ):
        checkpoints.save(3, {"a": np.zeros(500_000)}, {})


LIMITED = """
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
try:
    facts = {"long": "x" * int(sys.argv[3])}
    Checkpoints(Path(sys.argv[1])).save(3, {"a": np.zeros(125_000)}, facts)
except StorageError as error:
    print(error)
"""


@pytest.mark.parametrize(("limit", "facts"), [(5_000, 0), (990_000, 0), (1_500_000, 2_000_000)])
def test_a_file_that_cannot_grow_changes_nothing(tmp_path: Path, limit: int, facts: int) -> None:
    fill(tmp_path, 1, 2)
    with untouched(tmp_path), start(LIMITED, tmp_path, limit, facts) as process:
        (message,) = process.communicate()[0].splitlines()
    assert f"no space left while writing {tmp_path / 'step-00000003'}" in message
    assert f".{'jsonl' if facts else 'safetensors'}: free some disk space" in message
    assert "(the checkpoint of step 3 needs 1.0 MB, " in message and "MB are free)" in message


@pytest.mark.parametrize("failure", [OSError(errno.ENOSPC, "full"), KeyboardInterrupt()])
@pytest.mark.parametrize("number", range(4))
@pytest.mark.parametrize("step", [2, 3])
def test_any_failed_write(tmp_path: Path, failure: BaseException, number: int, step: int) -> None:
    checkpoints = fill(tmp_path, 1, 2)
    before = names(tmp_path)
    with (
        mock.patch("os.fsync", side_effect=[None] * number + [failure]),
        pytest.raises((StorageError, KeyboardInterrupt)) as caught,
    ):
        checkpoints.save(step, {"new": np.ones(3)}, {"new": True})
    needs = f"the checkpoint of step {step} needs 0.0 MB"
    assert (needs in str(caught.value)) == isinstance(failure, OSError)
    # The last fsync, of the folder, comes when both files have their names.
    assert assert_old_or_new(tmp_path, step) == (number == 3)
    assert number == 3 or names(tmp_path) == before
    assert len(fill(tmp_path, 4).list()) == 2 and len(names(tmp_path)) == 4


def test_a_failure_keeps_arrays_that_are_in_use(tmp_path: Path) -> None:
    checkpoints = fill(tmp_path, 1, 2)
    full = [None, None, OSError(errno.ENOSPC, "full")]
    with untouched(tmp_path), mock.patch("os.fsync", side_effect=full), pytest.raises(StorageError):
        checkpoints.save(2, some_arrays(2), {"at": "the same arrays, other facts"})


def test_leftovers_go_before_the_next_is_written(tmp_path: Path) -> None:
    checkpoints = fill(tmp_path, 1)
    full = mock.patch("os.fsync", side_effect=OSError(errno.ENOSPC, "full"))
    with untouched(tmp_path):  # they may take the room that is missing
        (tmp_path / ".step-00000002-0123456789abcdef.safetensors.99.tmp").write_bytes(b"part")
        (tmp_path / ".step-00000002.jsonl.99.tmp").write_bytes(b"part")
        (tmp_path / "step-00000002-0123456789abcdef.safetensors").write_bytes(b"no .jsonl came")
        with full, pytest.raises(StorageError):
            checkpoints.save(2, {}, {})


def test_a_file_in_place_of_the_folder_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("mine")
    for action in (Checkpoints.latest, Checkpoints.best, Checkpoints.list):
        with pytest.raises(StorageError, match=f"cannot read {path}: Not a directory: choose"):
            action(Checkpoints(path))
    for folder in (path, path / "below"):
        with pytest.raises(StorageError, match=f"{folder}: Not a directory") as caught:
            Checkpoints(folder).save(1, {}, {})
        assert "\n" not in str(caught.value)
    assert path.read_text() == "mine"


# Root may do everything, so it becomes another user first.
DENIED = """
folder = Path(tempfile.mkdtemp())
owner = os.geteuid()
checkpoints = Checkpoints(folder)
checkpoints.save(1, {}, {})
try:
    for mode in (0o000, 0o444, 0o555):
        folder.chmod(mode)
        if owner == 0:
            os.seteuid(65534)
        for action in (lambda: checkpoints.save(2, {}, {}), checkpoints.latest, checkpoints.best):
            try:
                print(action())
            except StorageError as error:
                print(error)
        os.seteuid(owner)
finally:
    shutil.rmtree(folder)
"""


def test_a_folder_without_permission_is_one_line() -> None:
    with start(DENIED) as process:
        lines = process.communicate()[0].splitlines()
    assert len(lines) == 9
    for line in lines[:6]:  # no right to look, or to look inside
        assert line.startswith("cannot ") and "Permission denied" in line
    assert lines[6].startswith("cannot write ") and "Permission denied" in lines[6]
    assert lines[7].startswith("Checkpoint(step=1") and lines[8] == "None"
