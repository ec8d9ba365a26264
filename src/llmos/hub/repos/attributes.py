"""Which files travel as large files: .gitattributes, and what .gitignore leaves out."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fnmatch import fnmatchcase

# fmt: off
PATTERNS = [
    "*.7z", "*.arrow", "*.avro", "*.bin", "*.bz2", "*.ckpt", "*.ftz", "*.gguf", "*.gz", "*.h5",
    "*.joblib", "*.lz4", "*.mds", "*.mlmodel", "*.model", "*.msgpack", "*.npy", "*.npz",
    "*.onnx", "*.ot", "*.parquet", "*.pb", "*.pickle", "*.pkl", "*.pt", "*.pth", "*.rar",
    "*.safetensors", "saved_model/**/*", "*.tar.*", "*.tar", "*.tflite", "*.tgz", "*.wasm",
    "*.xz", "*.zip", "*.zst", "*tfevents*",
]
# fmt: on
DEFAULT_ATTRIBUTES = "".join(
    f"{pattern} filter=lfs diff=lfs merge=lfs -text\n" for pattern in PATTERNS
).encode()
MOST_LINES = 2000  # of a file of rules that are read
ESCAPE = re.compile(r"\\(.)")


class LargeFiles:
    """The rules of a .gitattributes file about LFS."""

    def __init__(self, attributes: bytes) -> None:
        """`attributes` is the file's content."""
        self._rules: list[tuple[list[str], bool, bool]] = []
        for line in attributes.decode(errors="replace").splitlines()[:MOST_LINES]:
            words = line.split()
            said = [word for word in words[1:] if word.lstrip("-!").split("=")[0] == "filter"]
            if said and not words[0].startswith(("#", "[attr]")) and not words[0].endswith("/"):
                parts, rooted = _parts(words[0])
                self._rules.append((parts, rooted, said[-1] == "filter=lfs"))

    def take(self, path: str) -> bool:
        """Whether git would send this file to LFS; the last rule that fits decides."""
        folders = path.split("/")
        return next(
            (
                lfs
                for parts, rooted, lfs in reversed(self._rules)
                if _fits(parts, folders if rooted else folders[-1:])
            ),
            False,
        )


class Ignored:
    """The rules of a .gitignore file."""

    def __init__(self, text: str) -> None:
        """`text` is the file's content."""
        self._rules: list[tuple[list[str], bool, bool, bool]] = []
        for line in text.splitlines()[:MOST_LINES]:
            pattern = re.sub(r"(?<!\\) +$", "", line)
            if not pattern or pattern.startswith("#"):
                continue
            keep = pattern.startswith("!")
            pattern = pattern[keep:]
            parts, rooted = _parts(pattern.removesuffix("/"))
            self._rules.append((parts, rooted, pattern.endswith("/"), keep))

    def leave_out(self, path: str) -> bool:
        """Whether git would ignore this file: it or a folder it is in is ignored."""
        folders = path.split("/")
        return any(
            self._ignores(folders[:end], end < len(folders)) for end in range(1, len(folders) + 1)
        )

    def _ignores(self, folders: list[str], is_folder: bool) -> bool:
        for parts, rooted, only_folders, keep in reversed(self._rules):
            fits = is_folder or not only_folders
            if fits and _fits(parts, folders if rooted else folders[-1:]):
                return not keep
        return False


def _parts(pattern: str) -> tuple[list[str], bool]:
    """A pattern by folders, and whether it stands for a whole path (or for a name anywhere)."""
    rooted = "/" in pattern
    pattern = ESCAPE.sub(_literal, pattern.removeprefix("/").replace("[^", "[!"))
    parts = pattern.split("/")
    if parts[-1] == "**" and rooted:
        parts.append("*")  # whatever is inside, but not the folder itself
    return parts, rooted


def _literal(found: re.Match[str]) -> str:
    return f"[{found[1]}]" if found[1] in "*?[" else found[1]


def _fits(parts: Sequence[str], folders: Sequence[str]) -> bool:
    """Whether a path matches; `**` stands for any number of folders."""
    at = part = 0
    retry: tuple[int, int] | None = None  # where the last ** stands, and what it covers up to
    while at < len(folders):
        if part < len(parts) and parts[part] == "**":
            retry = (part, at)
            part += 1
        elif part < len(parts) and fnmatchcase(folders[at], parts[part]):
            at, part = at + 1, part + 1
        elif retry:
            retry = (retry[0], retry[1] + 1)
            part, at = retry[0] + 1, retry[1]
        else:
            return False
    return all(rest == "**" for rest in parts[part:])
