"""Was it worth it? The joint run against each member alone and against all data in one place.

    column              trained on           optimiser steps
    alone               the member's text    R H          (its own budget)
    alone_whole_budget  the member's text    M R H        (the whole run's budget)
    together            -                    the published weights, as they are
    together_own        the member's text    H more, from the published weights
    pooled              all members' text    M R H

R rounds of H local steps, M members. Every column starts from the same weights and tokenizer, uses
the recipe's training settings and a schedule over its own number of steps, and keeps the step with
the best validation bits per byte. Which column counts as the best alone and the best together is
chosen on validation text too; the test text is scored once. It needs every member's text in one
place, so it is a measurement for people who hold it all, not a part of a run across sites.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from llmos.errors import TrainingError
from llmos.metrics.bootstrap import bootstrap_difference
from llmos.models.arrays import Vector, get_weights, set_weights
from llmos.models.scoring import Scores
from llmos.provenance.manifests import mean_bits_per_byte
from llmos.recipe import Recipe
from llmos.records import JSON
from llmos.storage import write_atomic
from llmos.training.loop import Trainer
from llmos.training.workbench import Workbench

ALONE = ("alone", "alone_whole_budget")
TOGETHER = ("together", "together_own")

# The extra local steps start from a trained model, so they begin at a part of the peak rate.
OWN_PEAK = 1 / 3
OWN_VALIDATIONS = 5


@dataclass(frozen=True)
class Outcome:
    """One column for one member: validation bits per byte, test scores, and where it was best."""

    validation: float
    test: Scores
    step: int
    steps: int
    curve: list[tuple[int, float]]


class Comparison:
    """Computes the columns, one file each under `folder`, so that an interrupted one goes on."""

    def __init__(
        self,
        recipe: Recipe,
        benches: Mapping[str, Workbench],
        *,
        initial: Vector,
        published: Vector,
        folder: Path,
        listener: Callable[[JSON], None] = lambda event: None,
    ) -> None:
        self.recipe = recipe
        self.benches = benches
        self.initial = initial
        self.published = published
        self.folder = folder
        self.listener = listener
        self.local_steps = recipe.rounds.local_steps
        self.own_budget = recipe.rounds.count * self.local_steps
        self.whole_budget = self.own_budget * len(benches)
        self._done = 0

    def run(self) -> JSON:
        """The whole comparison, ready for JSON: columns, differences with intervals, verdicts."""
        outcomes: dict[str, dict[str, Outcome]] = {}
        for column in self.recipe.evaluation.columns:
            if column == "pooled":
                outcomes[column] = self._pooled()
                continue
            make = getattr(self, f"_{column}")
            outcomes[column] = {
                member: self._kept(column, member, make) for member in sorted(self.benches)
            }
        return self._summary(outcomes)

    # Columns

    def _kept(self, column: str, member: str, make: Callable[[str], Outcome]) -> Outcome:
        path = self.folder / f"{column}-{member}.json"
        if not path.exists():
            self._write(path, make(member))
        outcome = _read(path)
        self._tell(column, member, outcome)
        return outcome

    def _tell(self, column: str, member: str, outcome: Outcome) -> None:
        self._done += 1
        self.listener(
            {
                "event": "column",
                "column": column,
                "member": member,
                "bits_per_byte": outcome.test.bits_per_byte,
                "done": self._done,
                "total": len(self.recipe.evaluation.columns) * len(self.benches),
            }
        )

    def _write(self, path: Path, outcome: Outcome) -> None:
        record = {
            "validation_bits_per_byte": outcome.validation,
            "step": outcome.step,
            "steps": outcome.steps,
            "curve": outcome.curve,
            "nll_nats": outcome.test.nll.tolist(),
            "tokens": outcome.test.tokens.tolist(),
            "bytes": outcome.test.bytes.tolist(),
        }
        write_atomic(path, json.dumps(record).encode())

    def _together(self, member: str) -> Outcome:
        bench = self.benches[member]
        set_weights(bench.model, self.published)
        validation = bench.score("validation").bits_per_byte
        return Outcome(validation, bench.score("test"), 0, 0, [])

    def _together_own(self, member: str) -> Outcome:
        every = max(1, self.local_steps // OWN_VALIDATIONS)
        return self._train_member(member, self.published, self.local_steps, every, OWN_PEAK)

    def _alone(self, member: str) -> Outcome:
        every = self.local_steps * self.recipe.evaluation.every
        return self._train_member(member, self.initial, self.own_budget, every, 1.0)

    def _alone_whole_budget(self, member: str) -> Outcome:
        every = self.local_steps * self.recipe.evaluation.every
        return self._train_member(member, self.initial, self.whole_budget, every, 1.0)

    def _train_member(
        self, member: str, start: Vector, steps: int, every: int, peak: float
    ) -> Outcome:
        bench = self.benches[member]
        set_weights(bench.model, start)
        trainer = bench.trainer(steps, peak)
        found = _train_to_best(trainer, every, lambda: bench.score("validation").bits_per_byte)
        set_weights(bench.model, found.weights)
        return Outcome(
            found.validation, bench.score("test"), found.step, trainer.total_steps, found.curve
        )

    def _pooled(self) -> dict[str, Outcome]:
        members = sorted(self.benches)
        paths = {member: self.folder / f"pooled-{member}.json" for member in members}
        if not all(path.exists() for path in paths.values()):
            first = self.benches[members[0]]
            texts = [d for m in members for d in self.benches[m].material.split.train]
            data = first.objective.batches(texts, self.recipe.seed)
            set_weights(first.model, self.initial)
            trainer = first.trainer(self.whole_budget)
            trainer.data = data
            every = self.local_steps * self.recipe.evaluation.every * len(members)
            found = _train_to_best(trainer, every, lambda: self._mean_validation(first))
            for member in members:
                bench = self.benches[member]
                set_weights(bench.model, found.weights)
                outcome = Outcome(
                    bench.score("validation").bits_per_byte,
                    bench.score("test"),
                    found.step,
                    trainer.total_steps,
                    found.curve,
                )
                self._write(paths[member], outcome)
        outcomes = {member: _read(path) for member, path in paths.items()}
        for member, outcome in outcomes.items():
            self._tell("pooled", member, outcome)
        return outcomes

    def _mean_validation(self, trained: Workbench) -> float:
        weights = get_weights(trained.model)
        sums = []
        for bench in self.benches.values():
            set_weights(bench.model, weights)
            sums.append(bench.score("validation").sums())
        mean = mean_bits_per_byte(sums)
        assert mean is not None
        return mean

    # The table

    def _summary(self, outcomes: dict[str, dict[str, Outcome]]) -> JSON:
        columns: JSON = {}
        for column, of_members in outcomes.items():
            columns[column] = {
                member: {
                    "bits_per_byte": outcome.test.bits_per_byte,
                    # None where exp overflows: JSON has no infinity.
                    "perplexity": ppl if np.isfinite(ppl := outcome.test.perplexity) else None,
                    "validation_bits_per_byte": outcome.validation,
                    "best_step": outcome.step,
                    "steps": outcome.steps,
                }
                for member, outcome in of_members.items()
            }
        return {
            "version": 1,
            "seed": self.recipe.seed,
            "columns": columns,
            "units": {
                member: {
                    "count": len(next(iter(outcomes.values()))[member].test.nll),
                    "kind": "block of 2 kB" if bench.material.test_block_bytes else "document",
                }
                for member, bench in sorted(self.benches.items())
            },
            "differences": {
                member: difference
                for member in sorted(self.benches)
                if (difference := self._difference(member, outcomes)) is not None
            },
        }

    def _difference(self, member: str, outcomes: dict[str, dict[str, Outcome]]) -> JSON | None:
        """The best of together against the best of alone, both chosen on validation text."""

        def best(names: tuple[str, ...]) -> str | None:
            there = [name for name in names if name in outcomes]
            return min(there, key=lambda n: outcomes[n][member].validation) if there else None

        alone, together = best(ALONE), best(TOGETHER)
        if alone is None or together is None:
            return None
        a, b = outcomes[together][member].test, outcomes[alone][member].test
        interval = bootstrap_difference(
            a.nll, b.nll, a.bytes, self.recipe.evaluation.bootstrap_samples, self.recipe.seed
        )
        return {
            "together": together,
            "alone": alone,
            "bits_per_byte": interval.value,
            "low": interval.low if np.isfinite(interval.low) else None,
            "high": interval.high if np.isfinite(interval.high) else None,
            "verdict": verdict(interval.low, interval.high),
        }


def verdict(low: float, high: float) -> str:
    """What a 95 % interval of (together - alone) in bits per byte says; lower is better."""
    if high < 0:
        return "gained"
    if low > 0:
        return "lost"
    return "no clear difference"


@dataclass
class _Best:
    weights: Vector
    validation: float
    step: int
    curve: list[tuple[int, float]]


def _train_to_best(trainer: Trainer, every: int, validate: Callable[[], float]) -> _Best:
    """Train to the end of the schedule; return the validated step with the lowest value."""
    weights = trainer.weights()
    value = validate()
    best = _Best(weights, value, 0, [(0, value)])
    while trainer.step < trainer.total_steps:
        # Validation may have put other weights into the model (pooled scores at every member).
        trainer.set_weights(weights)
        try:
            trainer.run(min(every, trainer.total_steps - trainer.step))
        except TrainingError:
            break  # it diverged: what was best before counts, as for anybody who trains
        weights = trainer.weights()
        value = validate()
        best.curve.append((trainer.step, value))
        if value < best.validation:
            best.weights, best.validation, best.step = weights, value, trainer.step
    return best


def _read(path: Path) -> Outcome:
    record: dict[str, Any] = json.loads(path.read_bytes())
    return Outcome(
        record["validation_bits_per_byte"],
        Scores(
            np.array(record["nll_nats"]),
            np.array(record["tokens"], np.int64),
            np.array(record["bytes"], np.int64),
        ),
        record["step"],
        record["steps"],
        [(int(step), float(value)) for step, value in record["curve"]],
    )
