"""Git's object ids (sha1), computed without git.

The formats are those of git's documentation ("Git Internals - Git Objects") and of the LFS pointer
specification.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size}\n"


def object_id(kind: str, body: bytes) -> str:
    """The id of a git object of `kind` (blob, tree, commit)."""
    return hashlib.sha1(b"%s %d\0" % (kind.encode(), len(body)) + body).hexdigest()


def blob_id(content: bytes) -> str:
    """The id of a file with this content."""
    return object_id("blob", content)


def pointer(sha256: str, size: int) -> bytes:
    """The small text that git keeps in place of a large file."""
    return POINTER.format(sha256=sha256, size=size).encode()


def commit_body(
    tree: str, parents: Sequence[str], author: str, at_ms: int, title: str, message: str
) -> bytes:
    """A commit as git writes it; `tree` is the id of its root tree, `at_ms` milliseconds."""
    who = f"{author} <{author}@users.noreply.llmos> {at_ms // 1000} +0000"
    lines = [f"tree {tree}", *(f"parent {parent}" for parent in parents)]
    lines += [f"author {who}", f"committer {who}", "", title]
    return ("\n".join(lines) + "\n" + (f"\n{message}\n" if message else "")).encode()
