"""Which files travel as large files: .gitattributes, and what .gitignore leaves out."""

from __future__ import annotations

import fnmatch
import posixpath

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


def large_patterns(attributes: bytes) -> list[str]:
    """The patterns of a .gitattributes file whose files go to LFS."""
    found = []
    for line in attributes.decode(errors="replace").splitlines():
        words = line.split()
        if len(words) > 1 and "filter=lfs" in words[1:]:
            found.append(words[0])
    return found


def matches(path: str, patterns: list[str]) -> bool:
    """Whether git would apply one of `patterns` to `path`."""
    name = posixpath.basename(path)
    return any(
        fnmatch.fnmatchcase(path if "/" in pattern else name, pattern.removeprefix("/"))
        for pattern in patterns
    )


def ignored(path: str, gitignore: str) -> bool:
    """Whether a .gitignore text leaves `path` out; the last pattern that fits decides."""
    out = False
    for line in gitignore.splitlines():
        pattern = line.strip()
        if not pattern or pattern.startswith("#"):
            continue
        keep = pattern.startswith("!")
        pattern = pattern.removeprefix("!")
        if _ignores(pattern, path):
            out = not keep
    return out


def _ignores(pattern: str, path: str) -> bool:
    folder_only = pattern.endswith("/")
    rooted = "/" in pattern.rstrip("/")
    pattern = pattern.strip("/")
    parts = path.split("/")
    for end in range(1, len(parts) + (not folder_only)):
        piece = "/".join(parts[:end])
        if fnmatch.fnmatchcase(piece if rooted else parts[end - 1], pattern):
            return True
    return False
