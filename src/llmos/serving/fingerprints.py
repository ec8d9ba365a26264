"""What tells a served model from another of the same name, for those who keep its answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from llmos.models.engines.engine import Engine
from llmos.records import canonical_json
from llmos.storage import sha256_hex


def fingerprint(engine: Engine) -> str:
    """A hash of the names, sizes and times of the model's files, or of what its service says.

    Not of their content, which takes minutes for a large model: a copy has another one.
    """
    told: list[Any] = [getattr(engine, "identity", "")]
    if base := getattr(engine, "base", None):
        told.append(fingerprint(base))
    place = Path(getattr(engine, "folder", None) or engine.name)
    for file in sorted(place.iterdir()) if place.is_dir() else [place]:
        if file.is_file():
            state = file.stat()
            told.append([file.name, state.st_size, str(state.st_mtime_ns)])
    return sha256_hex(canonical_json(told))
