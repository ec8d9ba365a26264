"""Where a preparation keeps what: its folder, and one for its work that goes when it is done."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llmos.storage import write_atomic

DOCUMENTS = "documents"
WORK = ".work"


@dataclass(frozen=True)
class Places:
    """`folder` is what the member asked for; `work` lies in it until all is done."""

    folder: Path

    @classmethod
    def of_work(cls, work: Path) -> Places:
        """The places of a folder of work."""
        return cls(work.parent)

    @property
    def work(self) -> Path:
        return self.folder / WORK

    @property
    def settings(self) -> Path:
        return self.work / "settings.json"

    @property
    def fingerprints(self) -> Path:
        return self.work / "fingerprints"

    @property
    def removals(self) -> Path:
        return self.work / "removals"

    def chunk(self, number: int) -> Path:
        """Which parts of the sources a task reads."""
        return self.work / "plan" / f"{number:05d}.json"

    def cleaned(self, number: int) -> Path:
        """The documents of a chunk between the stages."""
        return self.work / "cleaned" / f"{number:05d}.jsonl.zst"

    def report(self, stage: str, number: int) -> Path:
        """What a task counted and found."""
        return self.work / stage / f"{number:05d}.json"

    def documents(self, number: int) -> Path:
        """What a run reads."""
        return self.folder / DOCUMENTS / f"{number:05d}.jsonl.gz"

    def dropped(self, stage: str, number: int) -> Path:
        """Documents kept aside."""
        return self.folder / "dropped" / f"{stage}-{number:05d}.jsonl.gz"


def write_json(path: Path, value: Any) -> None:
    """`value` as JSON, whole or not at all."""
    # In ASCII: the name of a file may hold bytes that are no UTF-8.
    write_atomic(path, json.dumps(value, sort_keys=True).encode())


def read_json(path: Path) -> Any:
    """What `write_json` wrote."""
    return json.loads(path.read_bytes())
