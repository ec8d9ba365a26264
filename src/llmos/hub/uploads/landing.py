"""What every file is checked for when it arrives, whichever way it came, and what becomes of files
that can run code."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, BinaryIO

from sqlalchemy import Connection, bindparam, select, update

from llmos.hub.database.connection import now
from llmos.hub.database.tables import blobs
from llmos.hub.errors import bad_request, forbidden, unprocessable
from llmos.hub.git.entries import Entry
from llmos.hub.hub import Hub
from llmos.hub.uploads import dangers, pickles, safetensors

# Names under which programs unpickle without asking. Only what is recognised as harmless may come
# under them; `.bin` is not here, as it means any binary file.
PICKLE_NAMES = {".pkl", ".pickle", ".pt", ".pth", ".ckpt", ".joblib", ".dill"}
HARMLESS = (b"\x89HDF\r\n\x1a\n", b"GGUF", b"\x93NUMPY", b"PK")  # and checked, where it is needed
SAMPLE = 64 << 10  # bytes of a file that are looked at to tell text
_STATES = select(blobs.c.sha256, blobs.c.state, blobs.c.reason, blobs.c.facts).where(
    blobs.c.sha256.in_(bindparam("some", expanding=True))
)


@dataclass(frozen=True, slots=True)
class Landed:
    """What was found in a file. `danger`: why opening it may run code ("": it does not);
    `broken`: why it is no whole safetensors file, if its name says that it is one."""

    danger: str = ""
    known: bool = False  # its content is of a kind that is known to be harmless
    broken: str = ""
    parameters: Mapping[str, Any] | None = None  # {"parameters": {dtype: count}, "total": count}

    @property
    def facts(self) -> dict[str, Any]:
        """What is written down with the blob."""
        facts: dict[str, Any] = {"known": True} if self.known else {}
        if self.parameters is not None:
            facts["safetensors"] = self.parameters
        elif self.broken:
            facts["not_safetensors"] = self.broken
        return facts


def inspect(file: BinaryIO, size: int) -> Landed:
    """Look at a file of `size` bytes; only heads and tails are read, and nothing is unpacked."""
    file.seek(0)
    head = file.read(16)
    broken = "it has no header"
    if safetensors.looks_like(head, size):
        try:
            return Landed(known=True, parameters=safetensors.count_parameters(file, size))
        except safetensors.NotSafetensors as error:
            broken = str(error)
    danger = dangers.why_dangerous(file, size)
    if danger:
        return Landed(danger=danger, broken=broken)
    known = head.startswith(HARMLESS) or pickles.is_pickle(file, size) or _is_text(file)
    return Landed(known=known or size == 0, broken=broken)


def inspect_bytes(content: bytes) -> Landed:
    """The same for a small file."""
    return inspect(io.BytesIO(content), len(content))


def _is_text(file: BinaryIO) -> bool:
    file.seek(0)
    sample = file.read(SAMPLE)
    if b"\0" in sample:
        return False
    try:
        sample.decode()
    except UnicodeDecodeError as error:
        return error.start > len(sample) - 4  # a letter cut in two
    return True


def record(connection: Connection, sha256: str, landed: Landed) -> None:
    """Write down with a blob (which `note_blobs` has noted) what was found in it."""
    state = "quarantined" if landed.danger else "good"
    same = update(blobs).where(blobs.c.sha256 == sha256)
    connection.execute(
        same.values(state=state, reason=landed.danger or None, facts=landed.facts or None)
    )


def record_small(hub: Hub, sha256: str, size: int, landed: Landed) -> None:
    """The same for a small file that no repository holds yet, where there is anything to say."""
    if landed.danger or landed.parameters is not None:
        with hub.database.write() as connection:
            _record_anew(connection, sha256, size, landed)


def _record_anew(connection: Connection, sha256: str, size: int, landed: Landed) -> None:
    there = select(blobs.c.sha256).where(blobs.c.sha256 == sha256)
    if connection.execute(there).first() is None:
        row = {"sha256": sha256, "size": size, "created_at": now()}
        connection.execute(blobs.insert(), row)
    record(connection, sha256, landed)


def admit(hub: Hub, connection: Connection, added: Mapping[str, Entry]) -> None:
    """Look at the files of a commit, within its transaction, by name and by what they hold.

    Raises `HubError` 403 for a file that can run code where the hub refuses those (elsewhere
    `danger_of` keeps it back), 422 for a .safetensors that is none.
    """
    for path, entry in added.items():
        if not entry.lfs and (_pickle_suffix(path) or _suffix(path) == ".safetensors"):
            landed = inspect_bytes(b"".join(hub.blobs.read(entry.key)))
            _record_anew(connection, entry.key, entry.size, landed)
    found = _blob_rows(connection, {entry.key for entry in added.values()})
    for path, entry in added.items():
        row = found.get(entry.key)
        if row is None and entry.lfs:
            raise bad_request(f"{path} was not uploaded, or so long ago that it was collected")
        if row is not None and row.state == "damaged" and not entry.lfs:  # its bytes came anew
            same = update(blobs).where(blobs.c.sha256 == entry.key)
            connection.execute(same.values(state="good", reason=None))
        danger = danger_of(path, row)
        if danger and hub.settings.pickles == "refuse":
            raise forbidden(
                "{path}: {danger}. Opening such a file can run code, and this hub takes none: save "
                "as safetensors instead (safetensors.torch.save_file, or save_pretrained)",
                path=path,
                danger=danger,
            )
        broken = ((row.facts if row else None) or {}).get("not_safetensors")
        if broken and _suffix(path) == ".safetensors":
            raise unprocessable(f"{path} is no whole safetensors file ({broken}): save it again")


def _suffix(path: str) -> str:
    return PurePosixPath(path).suffix.lower()


def _pickle_suffix(path: str) -> str:
    """The end of a name under which programs unpickle ("": another). Zstandard, which is not
    looked into here, they unpack before."""
    suffix = _suffix(path.lower().removesuffix(".zst"))
    return suffix if suffix in PICKLE_NAMES else ""


def danger_of(path: str, row: Any) -> str:
    """Why opening a file of that name can run code ("": it does not), by its row of `blobs`.

    Such a file is served only to those who may manage its repository. What it holds decides, under
    every name and none. What nobody recognises is dangerous under some names only; else anybody
    could have a file of others kept back by sending the same bytes under such a name.
    """
    if row is None:
        return ""
    if row.state == "quarantined":
        return str(row.reason)
    suffix = _pickle_suffix(path)
    if suffix and not (row.facts or {}).get("known"):
        return f"a {suffix} file of a kind that cannot be checked"
    return ""


def _blob_rows(connection: Connection, keys: set[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    ordered = sorted(keys)
    for start in range(0, len(ordered), 500):
        rows = connection.execute(_STATES, {"some": ordered[start : start + 500]})
        found |= {row.sha256: row for row in rows}
    return found
