"""The exchange over a folder: one process, several on a shared disk, or a stick carried by hand."""

from __future__ import annotations

import re
from pathlib import Path

from llmos.errors import ProtocolError
from llmos.storage import storage_errors, write_atomic

_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)*")


class DirectoryExchange:
    """Objects as files under `root`; a key is a relative path. See `protocol.Exchange`."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def _path(self, key: str) -> Path:
        if not _KEY.fullmatch(key):
            raise ProtocolError(f"{key!r} is not a key of an exchange")
        return self.root / key

    def put(self, key: str, data: bytes, *, durable: bool = True) -> None:
        write_atomic(self._path(key), data, durable=durable)

    def get(self, key: str) -> bytes | None:
        path = self._path(key)
        with storage_errors(path):
            try:
                return path.read_bytes()
            except FileNotFoundError:
                return None

    def list(self, prefix: str) -> list[str]:
        folder = self._path(prefix)
        if not folder.is_dir():
            return []
        return sorted(
            path.relative_to(self.root).as_posix()
            for path in folder.rglob("*")
            if path.is_file() and not path.name.startswith(".")
        )

    def delete(self, key: str) -> None:
        path = self._path(key)
        with storage_errors(path):
            path.unlink(missing_ok=True)
