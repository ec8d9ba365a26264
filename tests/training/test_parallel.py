"""Several processes: the same training as one, the same bits after a restart, and no hanging."""

from __future__ import annotations

import importlib.util
import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import llmos
from llmos.errors import UsageError
from llmos.training.loop import use_deterministic
from llmos.training.parallel import KINDS, ONE_PROCESS, processes_from_environment

SCRIPT = Path(__file__).parent / "parallel_cases.py"
SOURCE = str(Path(llmos.__file__).parent.parent)
SECONDS = 300
"""A process that takes longer is taken to hang."""


def load_cases() -> Any:
    spec = importlib.util.spec_from_file_location("parallel_cases", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


cases = load_cases()


@pytest.fixture(autouse=True, scope="module")
def deterministic() -> Iterator[None]:
    before = torch.are_deterministic_algorithms_enabled(), torch.get_num_threads()
    use_deterministic(threads=1)
    yield
    torch.use_deterministic_algorithms(before[0])
    torch.set_num_threads(before[1])


@contextmanager
def started(count: int, *arguments: str, only: int | None = None) -> Iterator[list[Any]]:
    """Processes as a launcher starts them; `only` one of them, where the others never come."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    common = {
        "PYTHONPATH": SOURCE,
        "OMP_NUM_THREADS": "1",
        "LLMOS_DEVICE": "cpu",
        "WORLD_SIZE": str(count),
        "LOCAL_WORLD_SIZE": str(count),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }
    processes = [
        subprocess.Popen(
            [sys.executable, *arguments],
            env={**os.environ, **common, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(count)
        if only in (None, rank)
    ]
    try:
        yield processes
    finally:
        for process in processes:
            process.kill()
            process.communicate()


def run(count: int, *arguments: str) -> None:
    """Start them and wait until all have ended well."""
    with started(count, *arguments) as processes:
        for process in processes:
            _, said = process.communicate(timeout=SECONDS)
            assert process.returncode == 0, said


# The same training


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, list[Mapping[str, Any]]]:
    """By kind: what each of two processes found."""
    folder = tmp_path_factory.mktemp("parallel")
    np.savez(folder / "begun.npz", **cases.begin(ONE_PROCESS))
    run(2, str(SCRIPT), str(folder))
    return {kind: [load(folder / f"{kind}-{rank}.npz") for rank in range(2)] for kind in KINDS}


def load(path: Path) -> dict[str, Any]:
    with np.load(path) as arrays:
        return dict(arrays)


def case(found: Mapping[str, Any], name: str) -> dict[str, Any]:
    start = f"{name}/"
    return {key.removeprefix(start): a for key, a in found.items() if key.startswith(start)}


def assert_like(found: Mapping[str, Any], expected: Mapping[str, Any], atol: float = 1e-5) -> None:
    assert found.keys() == expected.keys()
    for name in expected:
        np.testing.assert_allclose(found[name], expected[name], rtol=0, atol=atol, err_msg=name)


@pytest.mark.parametrize("name", cases.TRAININGS)
@pytest.mark.parametrize("kind", KINDS)
def test_two_processes_train_as_one(found: Any, kind: str, name: str) -> None:
    options = cases.TRAININGS[name]
    expected = cases.train(ONE_PROCESS, **options)
    before = cases.make_trainer(ONE_PROCESS, **options).weights()
    assert np.abs(expected["weights"] - before).max() > 1e-3  # so that 1e-5 says something
    assert expected["losses"][-1] > 0.3  # clipping was at work
    # Muon orthogonalises in bfloat16, so the order of sums may change its steps by a percent.
    atol = 1e-3 if name == "muon" else 1e-5
    for rank in range(2):
        assert_like(case(found[kind][rank], name), expected, atol)


@pytest.mark.parametrize("kind", KINDS)
def test_both_end_with_the_same_bits(found: Any, kind: str) -> None:
    first, second = found[kind]
    assert first.keys() == second.keys()
    different = {key for key in first if first[key].tobytes() != second[key].tobytes()}
    assert different == {"hooks/drawn", "hooks/place"}


@pytest.mark.parametrize("kind", KINDS)
def test_the_model_may_be_looked_at_between_steps(found: Any, kind: str) -> None:
    expected = cases.train_and_look(ONE_PROCESS)
    assert np.abs(np.diff(expected["looks"], axis=0)).max() > 1e-3
    assert_like(case(found[kind][0], "looks"), expected)
    # It changes nothing.
    looked, whole = case(found[kind][0], "looks"), case(found[kind][0], "llama")
    assert looked["weights"].tobytes() == whole["weights"].tobytes()


# Restarts


@pytest.mark.parametrize("name", ["llama", "dropout"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_restart_gives_the_same_bits(found: Any, kind: str, name: str) -> None:
    whole = case(found[kind][0], name)
    resumed = case(found[kind][0], "continued" if name == "llama" else "dropout, continued")
    for key in whole:
        if key not in ("losses", "numbers"):  # of the steps since the restart
            assert resumed[key].tobytes() == whole[key].tobytes(), key


@pytest.mark.parametrize("kind", KINDS)
def test_what_one_process_began_two_end_and_the_other_way_round(found: Any, kind: str) -> None:
    expected = cases.go_on(ONE_PROCESS, cases.begin(ONE_PROCESS))
    assert_like(case(found[kind][0], "continued from one"), expected)
    begun = case(found[kind][0], "begun")
    assert_like(cases.go_on(ONE_PROCESS, begun), expected)


@pytest.mark.slow
def test_a_restart_of_three_gives_the_same_bits(tmp_path: Path) -> None:
    # From three on the order of a sum matters; torch would change it after the first step.
    np.savez(tmp_path / "begun.npz", **cases.begin(ONE_PROCESS))
    run(3, str(SCRIPT), str(tmp_path))
    for kind in KINDS:
        found = load(tmp_path / f"{kind}-0.npz")
        for name in ("weights", "state/exp_avg", "state/exp_avg_sq"):
            assert found[f"continued/{name}"].tobytes() == found[f"llama/{name}"].tobytes()
        assert_like(case(found, "bf16"), cases.train(ONE_PROCESS, precision="bf16"))


# What processes tell one another


@pytest.mark.parametrize("kind", KINDS)
def test_each_draws_its_own_random_numbers(found: Any, kind: str) -> None:
    alone = cases.make_trainer(ONE_PROCESS)
    alone.run(1)
    first, second = (rank["hooks/drawn"] for rank in found[kind])
    assert first.tolist() == alone.objective.drawn[:3]
    assert not set(first) & set(second)


@pytest.mark.parametrize("kind", KINDS)
def test_broadcast_and_sum(found: Any, kind: str) -> None:
    for rank in range(2):
        hooks = case(found[kind][rank], "hooks")
        assert hooks["place"].tolist() == [rank, 2, rank == 0]
        assert hooks["received"].tolist() == [0, 0, 0]
        assert hooks["sum"].tolist() == [2.0, 1.0]


@pytest.mark.parametrize("kind", KINDS)
def test_a_loss_that_is_no_number_in_one_stops_all(found: Any, kind: str) -> None:
    for rank in range(2):
        name, step, message = found[kind][rank]["errors/stop"]
        assert (name, step) == ("NotFiniteError", "2")
        assert "the loss became nan" in message and "at step 3:" in message
        assert case(found[kind][rank], "skip")["numbers"].tolist()[1:] == [6, 1]


@pytest.mark.parametrize("kind", KINDS)
def test_a_batch_that_cannot_be_shared_is_refused(found: Any, kind: str) -> None:
    name, _, message = found[kind][1]["errors/batch"]
    assert name == "UsageError"
    assert "training.batch_size is 7" in message and "a multiple of 2" in message


def test_one_process_alone() -> None:
    assert (ONE_PROCESS.rank, ONE_PROCESS.count, ONE_PROCESS.is_first) == (0, 1, True)
    assert ONE_PROCESS.share(7) == range(7)
    assert ONE_PROCESS.broadcast("x") == "x"
    ONE_PROCESS.barrier()


# Starting and ending


@pytest.mark.parametrize("size", [None, "1"])
def test_without_a_launcher_it_is_one_process(
    monkeypatch: pytest.MonkeyPatch, size: str | None
) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    if size:
        monkeypatch.setenv("WORLD_SIZE", size)
    with processes_from_environment("fsdp") as processes:
        assert processes is ONE_PROCESS


@pytest.mark.parametrize(
    ("environment", "kind", "message"),
    [
        ({}, "zero", "no kind of processes is called 'zero': choose ddp or fsdp"),
        ({"WORLD_SIZE": "two"}, "ddp", "WORLD_SIZE is 'two' instead of a number"),
        ({}, "ddp", "2 processes could not find one another .*RANK expected, but not set"),
        ({"LLMOS_DEVICE": "mps"}, "ddp", "cannot train on mps: set LLMOS_DEVICE"),
        (
            {"LLMOS_DEVICE": "cuda:0", "LOCAL_RANK": "0"},
            "ddp",
            "2 processes on this machine, but it has .* LLMOS_DEVICE is cuda:0",
        ),
    ],
)
def test_a_wrong_start_is_one_line(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], kind: str, message: str
) -> None:
    for name in ("RANK", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"WORLD_SIZE": "2", "LLMOS_DEVICE": "cpu", **environment}.items():
        monkeypatch.setenv(name, value)
    with (
        pytest.raises(UsageError, match=message) as caught,
        processes_from_environment(kind, timeout=1),
    ):
        pass
    assert "\n" not in str(caught.value)


MEET = """
import os, sys, time, torch
from llmos.errors import LLMOSError
from llmos.training.parallel import processes_from_environment
try:
    with processes_from_environment(timeout=float(sys.argv[1])) as processes:
        for step in range(3):
            total = processes.sum(torch.ones(1))
            if processes.rank == 1 and step == 1:
                exec(sys.argv[2])
        # In one piece, because all write into one pipe.
        sys.stdout.write(f"{processes.rank}: {total.item():.0f}, {torch.get_num_threads()}\\n")
except LLMOSError as error:
    sys.exit(f"{type(error).__name__}: {error}")
"""
"""Arguments: the timeout in seconds, and what the second process does after the first step."""


@pytest.mark.parametrize(
    ("timeout", "fault"), [("60", "os._exit(9)"), ("60", "1 / 0"), ("3", "time.sleep(100)")]
)
def test_who_loses_another_says_so_and_ends(timeout: str, fault: str) -> None:
    with started(2, "-c", MEET, timeout, fault) as (first, _):
        _, said = first.communicate(timeout=SECONDS)  # raises where it hangs
        assert first.returncode == 1
        assert "TrainingError: process 0 of 2 (from 0) lost another (" in said
        assert said.splitlines()[-1].endswith("start all again to go on from the last checkpoint")


def test_who_comes_alone_does_not_wait_forever() -> None:
    with started(2, "-c", MEET, "2", "", only=1) as (second,):
        _, said = second.communicate(timeout=SECONDS)
        assert second.returncode == 1
        assert "UsageError: 2 processes could not find one another (" in said


ACCELERATE = "accelerate.commands.launch --multi_gpu --num_processes 2 --main_process_port 0"


@pytest.mark.parametrize(
    "launcher",
    [
        "torch.distributed.run --standalone --nproc-per-node 2",
        pytest.param(ACCELERATE, marks=pytest.mark.slow),
    ],
)
def test_launchers(launcher: str, tmp_path: Path) -> None:
    script = tmp_path / "meet.py"
    script.write_text(MEET)
    environment = {k: v for k, v in os.environ.items() if k != "OMP_NUM_THREADS"}
    done = subprocess.run(
        [sys.executable, "-m", *launcher.split(), str(script), "60", ""],
        env={**environment, "PYTHONPATH": SOURCE, "LLMOS_DEVICE": "cpu"},
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    assert done.returncode == 0, done.stderr
    threads = max(1, (os.cpu_count() or 1) // 2)
    assert sorted(done.stdout.splitlines()) == [f"{rank}: 2, {threads}" for rank in range(2)]
