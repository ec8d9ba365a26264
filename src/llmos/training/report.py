"""What a run alone says of itself: where it stands, its curves; from its log and ledger."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from llmos.recipe import Recipe, load_recipe
from llmos.records import JSON, read_jsonl

Points = list[tuple[float, float]]


@dataclass
class AloneReport:
    """Steps done, the newest figures, curves of bits per byte by step, and the ledger's bodies.

    In the curves the last word counts: a run that went on from a checkpoint repeats some steps.
    """

    recipe: Recipe
    step: int = 0
    total: int = 0
    latest: JSON = field(default_factory=dict)
    training: Points = field(default_factory=list)
    validation: Points = field(default_factory=list)
    losses: dict[str, Points] = field(default_factory=dict)  # nats, by name
    entries: dict[str, JSON] = field(default_factory=dict)

    @property
    def phase(self) -> str:
        if "published" in self.entries:
            return "published"
        return "testing" if self.total and self.step == self.total else "training"

    @property
    def best(self) -> tuple[int, float] | None:
        """Step and bits per byte of the best validation so far."""
        if not self.validation:
            return None
        step, bits = min(self.validation, key=lambda point: (point[1], point[0]))
        return int(step), bits

    def to_json(self) -> JSON:
        """For `llmos runs show --json`."""
        return {
            "kind": "alone",
            "phase": self.phase,
            "step": self.step,
            "total": self.total,
            "latest": self.latest,
            "training": self.training,
            "validation": self.validation,
            "losses": self.losses,
            "trained": self.entries.get("trained"),
        }


def report_alone(folder: Path) -> AloneReport:
    """The report of the run alone in `folder`."""
    report = AloneReport(load_recipe(folder / "recipe.toml"))
    steps: dict[int, JSON] = {}
    validations: dict[int, JSON] = {}
    for record in read_jsonl(folder / "log.jsonl"):
        event = record.get("event")
        if event == "resumed":
            steps = {step: r for step, r in steps.items() if step <= record["step"]}
            validations = {step: r for step, r in validations.items() if step <= record["step"]}
        elif event == "steps":
            steps[record["step"]] = record
        elif event == "validated":
            validations[record["step"]] = record
    ordered = [steps[step] for step in sorted(steps)]
    if ordered:
        report.latest = ordered[-1]
        report.step, report.total = ordered[-1]["step"], ordered[-1]["total"]
    report.training = _points(ordered, "bits_per_byte")
    report.validation = _points([validations[s] for s in sorted(validations)], "bits_per_byte")
    for name in ordered[-1]["losses"] if ordered else ():
        points = [(float(r["step"]), r["losses"].get(name)) for r in ordered]
        report.losses[name] = [(step, loss) for step, loss in points if loss is not None]
    path = folder / "ledger.jsonl"
    if path.exists():
        from llmos.provenance.ledger import Ledger  # late: `llmos --help` must not load its keys

        report.entries = {entry.kind: entry.body for entry in Ledger.open(path).entries}
    return report


def _points(records: list[dict[str, Any]], key: str) -> Points:
    return [(float(r["step"]), float(r[key])) for r in records if r.get(key) is not None]


def is_alone(folder: Path) -> bool:
    """Whether the run in `folder` is that of one organisation alone, as its run.json says."""
    try:
        settings = json.loads((folder / "run.json").read_bytes())
    except (OSError, ValueError):
        return False
    return isinstance(settings, dict) and settings.get("kind") == "alone"
