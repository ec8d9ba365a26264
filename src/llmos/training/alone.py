"""Training by one organisation alone: a recipe, its own text, one or several processes.

RUN/run.json       which text, on how many threads and processes
RUN/recipe.toml    the recipe
RUN/ledger.jsonl   what happened, signed with RUN/key.pem
RUN/tokenizer.json the tokenizer
RUN/checkpoints/   what a run that was stopped goes on from
RUN/log.jsonl      losses and times
RUN/model/         the outcome (and RUN/adapter/ where one was trained)

A run that was stopped at any moment goes on from its last checkpoint to the same final bits.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.numpy import save

from llmos import __version__
from llmos.errors import DataError, ModelError, RecipeError, StorageError, UsageError
from llmos.models.arrays import Vector, vector_to_bytes
from llmos.models.base import base_sizes
from llmos.models.lora import merged, save_adapter
from llmos.models.scoring import Scores
from llmos.provenance.ledger import Ledger
from llmos.provenance.signing import link_key, load_key, open_key
from llmos.recipe import Recipe, load_recipe
from llmos.records import JSON, append_jsonl
from llmos.storage import exclusive_lock, require_free_space, sha256_file, sha256_hex, write_atomic
from llmos.training.checkpoints import Checkpoint, Checkpoints
from llmos.training.loop import NotFiniteError, StepsReport, Trainer, use_deterministic
from llmos.training.material import Material
from llmos.training.meter import Meter
from llmos.training.outcome import alone_card, sync_folder, write_outcome
from llmos.training.parallel import ONE_PROCESS, Processes
from llmos.training.shard_material import open_material
from llmos.training.workbench import Workbench, base_head

Listener = Callable[[JSON], None]

LOG_EVERY = 10
"""Steps between two lines of the log; also at each validation."""


@dataclass(frozen=True)
class AloneSettings:
    """`run.json`: what a resumed run must know again."""

    data: str
    threads: int
    processes: int
    key: str = ""  # the file of a key that is kept elsewhere
    kind: str = "alone"
    version: int = 1


def validate_every(recipe: Recipe) -> int:
    """Optimiser steps between two validations."""
    return min(recipe.evaluation.every * recipe.rounds.local_steps, recipe.total_steps)


def start_alone(
    recipe: Recipe,
    data: Path,
    folder: Path,
    *,
    key: Path | None = None,
    processes: Processes = ONE_PROCESS,
    listener: Listener = lambda event: None,
) -> None:
    """Train `recipe` on `data` into the new folder. `LLMOSError` before anything is written.

    `key` is the file of the key that signs the ledger, one of the run's own where it is None.
    """
    if key is not None:
        load_key(key)
    material = open_material(data, recipe)
    # Several processes on one machine have divided its threads already.
    threads = recipe.training.threads or (
        torch.get_num_threads() if processes.count > 1 else os.cpu_count() or 1
    )
    with ExitStack() as stack:
        if processes.is_first:
            require_new(folder)
            require_free_space(folder.parent, _bytes_needed(recipe), "this run")
            stack.enter_context(exclusive_lock(folder / ".lock", busy(folder)))
            require_new(folder)  # another process may have made one meanwhile
            write_atomic(folder / "recipe.toml", recipe.to_toml().encode())
            own = str(key.resolve()) if key else ""
            settings = AloneSettings(str(data.resolve()), threads, processes.count, own)
            write_atomic(folder / "run.json", json.dumps(asdict(settings), indent=1).encode())
            _link_key(folder, settings)
        processes.barrier()
        try:
            _AloneRun(folder, recipe, material, threads, processes, listener).go()
        except (DataError, ModelError, RecipeError):
            # Text and recipe do not fit: the mended command can then be repeated.
            if processes.is_first and not (folder / "checkpoints").exists():
                shutil.rmtree(folder, ignore_errors=True)
            raise


def resume_alone(
    folder: Path,
    *,
    processes: Processes = ONE_PROCESS,
    listener: Listener = lambda event: None,
) -> None:
    """Go on with a run that was stopped, to the same final bits as if it had not been."""
    settings = _read_settings(folder)
    if settings.processes != processes.count:
        raise UsageError(
            f"{folder} was started with {settings.processes} process(es), not {processes.count}: "
            "go on with the same number"
        )
    recipe = load_recipe(folder / "recipe.toml")
    with ExitStack() as stack:
        if processes.is_first:
            stack.enter_context(exclusive_lock(folder / ".lock", busy(folder)))
            _link_key(folder, settings)
        material = open_material(Path(settings.data), recipe)
        _AloneRun(folder, recipe, material, settings.threads, processes, listener).go()


def _link_key(folder: Path, settings: AloneSettings) -> None:
    if settings.key:
        link_key(folder / "key.pem", Path(settings.key))


def _read_settings(folder: Path) -> AloneSettings:
    path = folder / "run.json"
    try:
        return AloneSettings(**json.loads(path.read_bytes()))
    except (OSError, ValueError, TypeError) as error:
        raise StorageError(
            f"{path} is damaged or of a newer llmos ({error}): restore it"
        ) from error


def require_new(folder: Path) -> None:
    """Raise `UsageError` where a run cannot begin because something else is there."""
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is a file: choose another --out")
    if (folder / "run.json").exists():
        raise UsageError(
            f"{folder} already holds a run: llmos train --resume {folder} goes on with it, "
            "or choose another --out"
        )
    others = sorted(path.name for path in folder.glob("*") if path.name[0] != ".")
    if others not in ([], ["recipe.toml"]):  # a run killed at its start leaves its recipe
        raise UsageError(f"{folder} holds other files ({others[0]}): choose a new --out")


def busy(folder: Path) -> str:
    """What to say when another process holds the run's lock."""
    return f"another process works on the run in {folder}: wait for it or stop it"


def _bytes_needed(recipe: Recipe) -> int:
    """A generous estimate of the disk that a run takes: checkpoints and the model."""
    model = recipe.model
    if model.base:
        values = base_sizes(model.base, base_head(recipe))[0]
    else:
        values = (recipe.tokenizer.vocabulary_size + model.context_length) * model.hidden_size
        values += model.num_layers * 28 * model.hidden_size**2
    return values * 4 * (3 * (recipe.checkpoint.keep_last + 2) + 1)


class _AloneRun:
    """One run, from where it stands to its end."""

    def __init__(
        self,
        folder: Path,
        recipe: Recipe,
        material: Material,
        threads: int,
        processes: Processes,
        listener: Listener,
    ) -> None:
        use_deterministic(threads)
        self.folder = folder
        self.recipe = recipe
        self.material = material
        self.threads = threads
        self.processes = processes
        self.listener = listener
        kept = recipe.checkpoint
        self.checkpoints = Checkpoints(
            folder / "checkpoints", keep_last=kept.keep_last, keep_best=kept.keep_best
        )
        self.tokens = 0
        self.seconds = 0.0
        self.ledger = self._open_ledger() if processes.is_first else None

    # What is told, and to whom

    def _open_ledger(self) -> Ledger:
        path, key = self.folder / "ledger.jsonl", open_key(self.folder / "key.pem")
        if path.exists():
            return Ledger.open(path, key)
        return Ledger.create(path, key)

    def _tell(self, event: str, **facts: Any) -> None:
        if self.processes.is_first:
            record = {"event": event, **facts}
            append_jsonl(self.folder / "log.jsonl", record)
            self.listener(record)

    def _enter(self, kind: str, body: JSON) -> None:
        """Enter into the ledger what is not there yet."""
        if self.ledger is not None and self._entered(kind) is None:
            self.ledger.append(kind, body)

    def _entered(self, kind: str) -> JSON | None:
        assert self.ledger is not None
        return next((e.body for e in self.ledger.entries if e.kind == kind), None)

    def _require_same(self, kind: str, body: JSON) -> None:
        """Refuse to go on from text or a base that changed since the run was started."""
        entered = self._entered(kind)
        assert entered is not None
        changed = [name for name, value in body.items() if entered[name] != value]
        if changed:
            raise UsageError(
                f"{changed[0]} is not what {self.folder} was started with: the text, the base or "
                "the machine's libraries have changed; restore them, or start a new run"
            )

    # The run

    def go(self) -> None:
        if self.processes.broadcast(self.ledger is not None and self._entered("published")):
            return
        self._enter(
            "alone_opened",
            {
                "llmos": __version__,
                "recipe": self.recipe.agreed(),
                "recipe_sha256": self.recipe.sha256(),
                "recipe_file_sha256": sha256_file(self.folder / "recipe.toml"),
                "threads": self.threads,
                "processes": self.processes.count,
                "card": self.material.card,
                "card_sha256": self.material.card_sha256,
            },
        )
        if self.processes.is_first:
            self._require_same("alone_opened", {"card_sha256": self.material.card_sha256})
        bench = Workbench.alone(self.recipe, self.material)
        facts = bench.identity()
        trainer = bench.trainer(self.recipe.total_steps, processes=self.processes)
        start = vector_to_bytes(trainer.weights())
        facts["weights_sha256"] = sha256_hex(start)
        self._enter("prepared", facts)
        if self.processes.is_first:
            self._require_same("prepared", facts)
            write_atomic(self.folder / "tokenizer.json", bench.tokenizer_bytes)
        self._tell("prepared", parameters=facts["parameters"], trained=len(start) // 4)
        self._train(bench, trainer)
        self._finish(bench, trainer)

    def _train(self, bench: Workbench, trainer: Trainer) -> None:
        every = validate_every(self.recipe)
        save_every = self.recipe.checkpoint.every or every
        total = trainer.total_steps
        found = self.checkpoints.latest(lambda text: self._tell("warning", text=text))
        if found is not None:
            self._restore(trainer, found)
            self._tell("resumed", step=trainer.step)
        scores = self._score(bench, trainer, "validation")
        if found is None:
            self._validated(trainer, scores.sums())
            self._save(trainer, scores.bits_per_byte)
        meter = Meter(
            trainer, float(scores.bytes.sum() / scores.tokens.sum()), self.processes.count
        )
        while trainer.step < total:
            stops = (_next(trainer.step, n) for n in (LOG_EVERY, every, save_every))
            report = self._run(trainer, min(total, *stops) - trainer.step)
            self.tokens += report.tokens
            self.seconds += report.seconds
            self._tell("steps", **meter.figures(report))
            is_last = trainer.step == total
            score = None
            if trainer.step % every == 0 or is_last:
                scores = self._score(bench, trainer, "validation")
                score = scores.bits_per_byte
                self._validated(trainer, scores.sums())
            if trainer.step % save_every == 0 or score is not None:
                self._save(trainer, score)

    def _score(self, bench: Workbench, trainer: Trainer, split: str) -> Scores:
        return trainer.inside(lambda: bench.score(split))

    def _run(self, trainer: Trainer, steps: int) -> StepsReport:
        try:
            return trainer.run(steps)
        except NotFiniteError as error:
            if not self.processes.is_first:
                raise
            path = self.folder / f"batch-{error.step + 1:08d}.safetensors"
            batch = trainer.data.batch(error.step, self.recipe.training.batch_size)
            write_atomic(path, save({k: np.ascontiguousarray(v) for k, v in batch.items()}))
            raise NotFiniteError(f"{error}; the batch is kept in {path}", error.step) from error

    def _validated(self, trainer: Trainer, sums: JSON) -> None:
        bits = sums["nll_nats"] / np.log(2) / sums["bytes"]
        self._tell(
            "validated",
            step=trainer.step,
            total=trainer.total_steps,
            bits_per_byte=float(bits) if np.isfinite(bits) else None,
            tokens=self.tokens,
            training_seconds=round(self.seconds, 3),
        )

    # Checkpoints

    def _save(self, trainer: Trainer, score: float | None) -> None:
        state = {f"optimizer/{name}": array for name, array in trainer.state().items()}
        arrays = {"weights": trainer.weights(), **state}  # on every process: parts are gathered
        if self.processes.is_first:
            facts = {
                "recipe_sha256": self.recipe.sha256(),
                "step": trainer.step,
                "total_steps": trainer.total_steps,
                # Batches and random numbers follow from these two and the step.
                "seed": self.recipe.seed,
                "batch_size": self.recipe.training.batch_size,
                "tokens": self.tokens,
                "training_seconds": self.seconds,
                "threads": self.threads,
                "processes": self.processes.count,
            }
            self.checkpoints.save(trainer.step, arrays, facts, score=score)
        self.processes.barrier()

    def _restore(self, trainer: Trainer, found: Checkpoint) -> None:
        if found.facts["recipe_sha256"] != self.recipe.sha256():
            raise UsageError(
                f"{self.folder / 'recipe.toml'} has changed since the run was started: restore it; "
                "a run keeps its recipe"
            )
        trainer.set_weights(found.arrays["weights"])
        prefix = "optimizer/"
        trainer.load_state(
            {
                name.removeprefix(prefix): array
                for name, array in found.arrays.items()
                if name.startswith(prefix)
            }
        )
        self.tokens = int(found.facts["tokens"])
        self.seconds = float(found.facts["training_seconds"])

    # The end

    def _finish(self, bench: Workbench, trainer: Trainer) -> None:
        warn: Callable[[str], None] = lambda text: self._tell("warning", text=text)  # noqa: E731
        best = self.recipe.evaluation.select == "best" and self.recipe.checkpoint.keep_best
        chosen = self.checkpoints.best(warn) if best else self.checkpoints.latest(warn)
        if chosen is None:
            raise StorageError(
                f"no checkpoint in {self.checkpoints.folder} is whole: start the run again"
            )
        trainer.set_weights(chosen.arrays["weights"])
        self._tell("selected", step=chosen.step)
        scores = self._score(bench, trainer, "test").sums()
        self._enter(
            "trained",
            {
                "steps": trainer.total_steps,
                "tokens": self.tokens,
                "selected_step": chosen.step,
                "validation_bits_per_byte": chosen.score,
                "weights_sha256": sha256_hex(vector_to_bytes(chosen.arrays["weights"])),
                "test": scores,
            },
        )
        self._tell("tested", scores=scores)
        if self.ledger is not None:
            files = self._publish(bench, chosen.arrays["weights"], self.ledger)
            self._enter("published", {"files": files})
            self._tell("published", folder=str(self.folder / "model"))

    def _publish(self, bench: Workbench, weights: Vector, ledger: Ledger) -> dict[str, str]:
        """Write RUN/model (and RUN/adapter); the sha256 of each file by its path in RUN."""
        model = bench.rebuilt(weights)
        folders = {}
        if self.recipe.training.method == "lora":
            shutil.rmtree(self.folder / "adapter", ignore_errors=True)
            save_adapter(model, self.folder / "adapter", self.recipe)
            folders["adapter"] = sync_folder(self.folder / "adapter")
            model = merged(model)
        card = alone_card(self.recipe, ledger, bench.objective.head)
        folders["model"] = write_outcome(
            self.folder / "model", model, bench.words, self.recipe, card
        )
        return {
            f"{place}/{name}": d for place, files in folders.items() for name, d in files.items()
        }


def _next(step: int, every: int) -> int:
    """The first multiple of `every` after `step`."""
    return (step // every + 1) * every
