"""Files that survive crashes, full disks and a second process."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from llmos.errors import StorageError
from llmos.storage import (
    exclusive_lock,
    require_free_space,
    sha256_file,
    sha256_hex,
    storage_errors,
    write_atomic,
)

OLD, NEW = b"old content", b"new" * 10_000


@contextmanager
def full_disk(limit: int = 4096) -> Iterator[None]:
    """No file of this process may grow past `limit` bytes, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def refused(caught: pytest.ExceptionInfo[StorageError]) -> str:
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize("data", [b"", b"abc", b"x" * (1 << 20), b"y" * ((2 << 20) + 1)])
def test_hashes_are_those_of_hashlib(tmp_path: Path, data: bytes) -> None:
    expected = hashlib.sha256(data).hexdigest()
    (tmp_path / "f").write_bytes(data)
    assert sha256_file(tmp_path / "f") == sha256_hex(data) == sha256_hex(memoryview(data))
    assert sha256_hex(data) == expected


# Atomic writes


@pytest.mark.parametrize("durable", [True, False])
def test_a_file_is_written_or_replaced_with_its_folders(tmp_path: Path, durable: bool) -> None:
    path = tmp_path / "a/b/c.bin"
    write_atomic(path, OLD, durable=durable)
    assert path.read_bytes() == OLD
    write_atomic(path, memoryview(NEW), durable=durable)
    assert path.read_bytes() == NEW
    assert list(path.parent.iterdir()) == [path]


def test_a_full_disk_keeps_the_old_file_and_leaves_nothing_behind(tmp_path: Path) -> None:
    path = tmp_path / "f"
    write_atomic(path, OLD)
    with full_disk(), pytest.raises(StorageError) as caught:
        write_atomic(path, NEW)
    message = refused(caught)
    assert f"no space left while writing {path}" in message
    assert "free some disk space and resume" in message
    assert path.read_bytes() == OLD
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("call", ["fsync", "replace"])
@pytest.mark.parametrize("failure", [OSError(errno.ENOSPC, "full"), KeyboardInterrupt()])
def test_a_failure_at_any_point_keeps_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, failure: BaseException
) -> None:
    path = tmp_path / "f"
    write_atomic(path, OLD)

    def fail(*args: Any) -> None:
        raise failure

    monkeypatch.setattr(os, call, fail)
    with pytest.raises((StorageError, KeyboardInterrupt)):
        write_atomic(path, NEW)
    assert path.read_bytes() == OLD
    assert list(tmp_path.iterdir()) == [path]


def test_the_content_is_on_the_disk_before_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "f"
    write_atomic(path, OLD)
    happened: list[str] = []
    fsync, replace = os.fsync, os.replace

    def watched_fsync(descriptor: int) -> None:
        is_folder = os.path.isdir(f"/proc/self/fd/{descriptor}")
        happened.append("folder" if is_folder else "content")
        if not is_folder:
            assert os.fstat(descriptor).st_size == 3  # nothing left in Python's buffer
        fsync(descriptor)

    def watched_replace(source: Path, target: Path) -> None:
        happened.append("name")
        assert target.read_bytes() == OLD
        replace(source, target)

    monkeypatch.setattr(os, "fsync", watched_fsync)
    monkeypatch.setattr(os, "replace", watched_replace)
    write_atomic(path, b"new")
    assert happened == ["content", "name", "folder"]


def test_a_process_killed_while_writing_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "f"
    write_atomic(path, OLD)
    code = (
        "import os, signal, sys; from pathlib import Path; from llmos.storage import write_atomic\n"
        "os.fsync = lambda descriptor: os.kill(os.getpid(), signal.SIGKILL)\n"
        "write_atomic(Path(sys.argv[1]), b'new' * 10_000)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], env=environment())
    assert done.returncode == -signal.SIGKILL
    assert path.read_bytes() == OLD


def test_a_place_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    for path in (tmp_path / "folder", tmp_path / "file" / "f"):
        with pytest.raises(StorageError) as caught:
            write_atomic(path, NEW)
        assert f"cannot write {path}: " in refused(caught)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "folder"]
    assert list((tmp_path / "folder").iterdir()) == []


@pytest.mark.parametrize(
    ("number", "message"),
    [
        (errno.ENOSPC, "no space left"),
        (errno.EDQUOT, "no space left"),
        (errno.EFBIG, "no space left"),
        (errno.EROFS, "cannot write .*: Read-only file system"),
        (errno.EIO, "cannot write .*: Input/output error"),
    ],
)
def test_errors_of_the_system_become_one_line(tmp_path: Path, number: int, message: str) -> None:
    with pytest.raises(StorageError, match=message) as caught, storage_errors(tmp_path):
        raise OSError(number, os.strerror(number))
    refused(caught)


# Locks

HOLD = """
import sys
from pathlib import Path
from llmos.storage import exclusive_lock
with exclusive_lock(Path(sys.argv[1]), "held"):
    print("locked", flush=True)
    sys.stdin.read()
"""


def environment() -> dict[str, str]:
    import llmos

    source = str(Path(str(llmos.__file__)).parent.parent)
    return {**os.environ, "PYTHONPATH": source}


@contextmanager
def holder(path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the lock until its input ends."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "locked\n"
        yield process
    finally:
        process.kill()
        process.communicate()


def test_a_lock_excludes_another_process_and_dies_with_it(tmp_path: Path) -> None:
    path = tmp_path / "new/.lock"
    with holder(path) as process:
        with (
            pytest.raises(StorageError, match=r"^run r is busy: wait$"),
            exclusive_lock(path, "run r is busy: wait"),
        ):
            pytest.fail("both hold it")
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert process.returncode == -signal.SIGKILL
        with exclusive_lock(path, "held"):
            pass


def test_a_lock_is_released_at_the_end_of_its_block_and_after_an_error(tmp_path: Path) -> None:
    path = tmp_path / ".lock"
    path.write_text("content stays")
    with (
        exclusive_lock(path, "held"),
        pytest.raises(StorageError, match="held"),  # by another caller in the same process
        exclusive_lock(path, "held"),
    ):
        pytest.fail("both hold it")
    with pytest.raises(ValueError, match="inside"), exclusive_lock(path, "held"):
        raise ValueError("inside")
    with holder(path):
        pass
    assert path.read_text() == "content stays"


def test_a_file_system_without_locks_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(file: Any, flags: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with (
        pytest.raises(StorageError, match=r"cannot lock .*No locks available.*: choose") as caught,
        exclusive_lock(tmp_path / ".lock", "held"),
    ):
        pytest.fail("it holds nothing")
    refused(caught)


# Free space


def test_space_that_is_there_is_enough_even_for_a_folder_to_come(tmp_path: Path) -> None:
    require_free_space(tmp_path, 1, "this run")
    require_free_space(tmp_path / "not/yet/there", 1, "this run")


def test_too_little_space_names_both_amounts(tmp_path: Path) -> None:
    with pytest.raises(StorageError) as caught:
        require_free_space(tmp_path / "new", 10**18, "this run")
    message = refused(caught)
    assert f"this run needs about 1000000000000 MB in {tmp_path / 'new'}" in message
    assert "MB are free: free some space or choose another folder" in message
