"""Where the tasks of a stage run: processes of this machine, a Slurm cluster, or Ray.

Every stage is a plain function of (folder, number of the task), run by one of datatrove's
executors, which notes each finished task; a stage that is started again goes on where it stood.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from inspect import signature
from pathlib import Path
from typing import Any

from loguru import logger

from llmos.errors import DataError, UsageError

# datatrove tells every task on the terminal; progress and errors are told by the command itself.
logger.disable("datatrove")

Progress = Callable[[str, int, int], None]
"""Called with a stage's name, the tasks done and all tasks."""
POLL_SECONDS = 0.3
GRACE_SECONDS = 3.0
EXECUTORS = ("local", "slurm", "ray")
SLURM_NEEDS = ("time", "partition")


@dataclass(frozen=True)
class Stage:
    """`work(folder, number)` for each number below `tasks`."""

    name: str
    work: Callable[[Path, int], None]
    folder: Path
    tasks: int

    def __call__(self, data: Any, rank: int = 0, world_size: int = 1) -> None:
        """What datatrove calls, for one task."""
        del data, world_size
        self.work(self.folder, rank)

    @property
    def logs(self) -> Path:
        """Where datatrove notes the finished tasks."""
        return self.folder / "tasks" / self.name

    def finished(self) -> int:
        """How many tasks are done."""
        done = self.logs / "completions"
        return len(list(done.iterdir())) if done.is_dir() else 0


@dataclass(frozen=True)
class Where:
    """`kind` is one of `EXECUTORS`; `options` go to datatrove's executor of that kind."""

    kind: str = "local"
    workers: int = 1
    options: Mapping[str, str] = field(default_factory=dict)

    def run(self, stages: list[Stage], progress: Progress) -> bool:
        """Run the stages one after another; False where they were only handed over (Slurm)."""
        if self.kind == "slurm":
            self._hand_over(stages)
            return False
        for stage in stages:
            with _Watch(stage, progress, self.kind == "local" and self.workers > 1):
                self._executor(stage).run()
            progress(stage.name, stage.tasks, stage.tasks)
        return True

    def _executor(self, stage: Stage) -> Any:
        workers = max(1, min(self.workers, stage.tasks))
        if self.kind == "ray":
            if find_spec("ray") is None:
                raise UsageError("Ray is not installed: pip install ray, here and on its machines")
            from datatrove.executor.ray import RayPipelineExecutor

            return self._made(RayPipelineExecutor, stage, workers=workers)
        from datatrove.executor.local import LocalPipelineExecutor

        return self._made(LocalPipelineExecutor, stage, workers=workers)

    def _made(self, executor: Callable[..., Any], stage: Stage, **more: Any) -> Any:
        """datatrove's executor for a stage. Raises `UsageError` for an option it has not."""
        options = {k: int(v) if v.isdigit() else v for k, v in self.options.items()}
        known = signature(executor).parameters
        for name in options:
            if name not in known or name in _OURS:
                raise UsageError(
                    f"--executor-option {name} is not one of this executor's: "
                    f"{', '.join(sorted(set(known) - _OURS))}"
                )
        return executor(
            pipeline=[stage], tasks=stage.tasks, logging_dir=str(stage.logs), **more, **options
        )

    def _hand_over(self, stages: list[Stage]) -> None:
        from datatrove.executor.slurm import SlurmPipelineExecutor

        missing = [name for name in SLURM_NEEDS if name not in self.options]
        if missing:
            raise UsageError(
                f"Slurm needs {' and '.join(missing)}: add for example "
                f"--executor-option {missing[0]}={'04:00:00' if missing[0] == 'time' else 'cpu'}"
            )
        before = None
        for stage in stages:
            before = self._made(
                SlurmPipelineExecutor,
                stage,
                workers=self.workers,
                job_name=f"llmos-{stage.name}",
                depends=before,
            )
        assert before is not None
        before.run()


_OURS = {"pipeline", "tasks", "logging_dir", "workers", "job_name", "depends"}


class _Watch:
    """Tells the progress of a stage, and stops it when one of its processes was killed.

    A pool of processes waits for ever for the task of a process that was killed, such as by the
    operating system for want of memory.
    """

    def __init__(self, stage: Stage, progress: Progress, processes: bool) -> None:
        self._stage = stage
        self._progress = progress
        self._processes = processes
        self._ended = threading.Event()
        self._killed = False
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        if self._killed and kind is not None and issubclass(kind, KeyboardInterrupt):
            raise DataError(
                f"a process of the stage {self._stage.name!r} was killed, perhaps for want of "
                "memory: run the same command again, with fewer --workers; it goes on where it "
                "stood"
            )

    def _watch(self) -> None:
        import multiprocess

        seen: set[int] = set()
        while not self._ended.wait(POLL_SECONDS):
            done = self._stage.finished()
            self._progress(self._stage.name, done, self._stage.tasks)
            if self._processes:
                alive = {child.pid for child in multiprocess.active_children()}
                if seen - alive and not self._over():
                    self._killed = True
                    os.kill(os.getpid(), signal.SIGINT)
                    return
                seen |= alive

    def _over(self) -> bool:
        """Whether processes end because the stage does, be it by an error."""
        return self._ended.wait(GRACE_SECONDS) or self._stage.finished() == self._stage.tasks
