"""All that the tasks of a preparation need to know, as data that a task reads from the folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from llmos.errors import DataError
from llmos.recipe import DataSection, PreparationSection
from llmos.records import canonical_json
from llmos.storage import sha256_file, sha256_hex

CHUNK_BYTES = 16 << 20
"""Text of one task: small enough that a few hundred MB keep many cores busy, and that a kill loses
little work."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What is prepared and how.

    `data` and `rules` are what the members agreed on (sections of the recipe); the rest is the
    member's own. Files (`protected`, `optouts`, `decontaminate`, `tokenizer`) are named by path,
    and by content in `sha256`.
    """

    sources: tuple[str, ...]
    name: str = ""
    record: str = "text"
    data: DataSection = field(default_factory=DataSection)
    rules: PreparationSection = field(default_factory=PreparationSection)
    recipe_sha256: str = ""
    licence: str = ""
    """Licence of the sources that state none."""
    protected: str = ""
    optouts: tuple[str, ...] = ()
    decontaminate: tuple[str, ...] = ()
    tokenizer: str = ""
    keep_dropped: bool = False
    chunk_bytes: int = CHUNK_BYTES

    def files(self) -> tuple[str, ...]:
        """The files of the member that the steps read, besides the sources."""
        named = (self.protected, *self.optouts, *self.decontaminate, self.tokenizer)
        return tuple(name for name in named if name)

    def to_json(self) -> dict[str, Any]:
        """Everything as JSON."""
        return json.loads(json.dumps(asdict(self)))  # type: ignore[no-any-return]

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Settings:
        """What `to_json` wrote."""
        known = _tuples({f.name: values[f.name] for f in fields(cls)})
        known["data"] = DataSection(**known["data"])
        known["rules"] = PreparationSection(**_tuples(known["rules"]))
        return cls(**known)

    def sha256(self, hashes: Mapping[str, str]) -> str:
        """Hash of all settings and of what `hashes` gave."""
        return sha256_hex(canonical_json({**self.to_json(), "files": dict(hashes)}))

    def hashes(self) -> dict[str, str]:
        """SHA-256 of each of `files`; of a folder, that of its files' names and hashes.

        Raises `DataError` for a missing file.
        """
        return {name: _hash(Path(name)) for name in self.files()}


def _tuples(values: Mapping[str, Any]) -> dict[str, Any]:
    """What JSON makes lists of is tuples here."""
    return {name: tuple(v) if isinstance(v, list) else v for name, v in values.items()}


def _hash(path: Path) -> str:
    try:
        if path.is_dir():
            inside = sorted(file for file in path.rglob("*") if file.is_file())
            names = [[file.relative_to(path).as_posix(), sha256_file(file)] for file in inside]
            return sha256_hex(canonical_json(names))
        return sha256_file(path)
    except OSError as error:
        raise DataError(
            f"{path} cannot be read ({error.strerror or error}): name a file that exists"
        ) from error
