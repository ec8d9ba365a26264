"""Signed results of an evaluation: which model, which items, which settings, which scores.

A result is a JSON file, signed as `llmos/result/v1` (see `signing`). It holds sums over items,
never an item or what a model wrote, so a member can send it; and no time, so that the same
evaluation gives the same bytes.

    {"version": 1, "suite": {name, version, sha256}, "model": {name, kind, sha256, links...},
     "code": {llmos, python}, "seed": 0, "hardware": {...}, "settings": {...}, "of": [...],
     "benchmarks": [{name, task, dataset, spec, data_sha256, n, how, rows_sha256, scores: [...]}]}

`of` names the results that this one was added up from, by hash and signer; [] for one that was
measured.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from llmos.errors import SignatureError, UsageError
from llmos.provenance.signing import SigningKey, sign, verify
from llmos.records import JSON, canonical_json
from llmos.storage import sha256_hex, write_atomic

KIND = "result"
VERSION = 1
KEYS = ("version", "suite", "model", "code", "seed", "hardware", "settings", "of", "benchmarks")
PARTS = (
    "name", "task", "dataset", "spec", "data_sha256", "n", "how", "rows_sha256", "scores",
)  # fmt: skip

MODEL_FILES = (".safetensors", ".json", ".model", ".txt", ".jinja")
"""What makes a model: weights, configuration, tokenizer, the form of its chats."""
NOT_THE_MODEL = ("comparison.json", "curves.json")


@dataclass(frozen=True)
class Result:
    """A result whose signature was checked. sha256: of its canonical JSON, signature and all."""

    body: Mapping[str, Any]
    signer: str
    sha256: str
    name: str = ""
    """Where it was read from."""

    @property
    def benchmarks(self) -> list[JSON]:
        found: list[JSON] = self.body["benchmarks"]
        return found

    @property
    def is_measured(self) -> bool:
        """Whether the model's files are known by hash: a service's are not."""
        return bool(self.body["model"].get("sha256"))


def write_result(path: Path, body: JSON, key: SigningKey) -> Result:
    """Sign a result and write it. Raises `ProtocolError` and `StorageError` as `sign` and
    `write_atomic` do, `UsageError` for a body that is none."""
    check_body(body, str(path))
    signed = sign(key, KIND, body)
    write_atomic(path, json.dumps(signed, indent=1, ensure_ascii=False).encode() + b"\n")
    return Result(body, key.public, sha256_hex(canonical_json(signed)), str(path))


def read_result(path: Path) -> Result:
    """The result in a file.

    Raises `SignatureError` for one that was changed after signing, `UsageError` for a file that is
    no result or of a version not known here.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UsageError(
            f"{path} cannot be read ({error.strerror or error}): name a result file"
        ) from error
    return parse_result(data, str(path))


def parse_result(data: bytes | str, name: str = "the record") -> Result:
    """The result in a JSON text, called `name` in messages. Raises as `read_result` does."""
    try:
        signed = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{name} is not JSON ({error}): ask its sender for it again") from error
    if not isinstance(signed, dict) or not {"benchmarks", "signature"} <= signed.keys():
        raise UsageError(f"{name} is no signed result: give what llmos evaluate wrote")
    try:
        body = verify(KIND, signed)
    except SignatureError as error:
        raise SignatureError(f"{name}: {error}") from error
    check_body(body, name)
    return Result(body, signed["signer"], sha256_hex(canonical_json(signed)), name)


def model_digest(files: Mapping[str, str]) -> str:
    """The hash of a model: of the names and the hashes of the files that make it.

    `files` are those of the model's folder, without folders below it: name to sha256 of the bytes.
    """
    made_of = [
        [name, files[name]]
        for name in sorted(files)
        if PurePosixPath(name).suffix in MODEL_FILES and name not in NOT_THE_MODEL
    ]
    return sha256_hex(canonical_json(made_of))


def check_body(body: Mapping[str, Any], name: str) -> None:
    """Raise `UsageError` for a body without what every result has."""
    if body.get("version") != VERSION:
        raise UsageError(
            f"{name} is a result of version {body.get('version')!r}, this llmos reads version "
            f"{VERSION}: update llmos"
        )
    missing = [key for key in KEYS if key not in body]
    parts = body.get("benchmarks")
    if not missing and isinstance(parts, Sequence):
        missing = [
            key
            for part in parts
            for key in PARTS
            if not isinstance(part, Mapping) or key not in part
        ]
    if missing:
        raise UsageError(f"{name} is a result without {missing[0]!r}: evaluate again")


def hardware() -> JSON:
    """What the figures were computed on, as far as the standard library tells."""
    return {"machine": platform.machine(), "system": platform.system()}
