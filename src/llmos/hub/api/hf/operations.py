"""The body of a commit: newline-delimited JSON, a header and then one operation a line."""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection

from llmos.hub.api.asking import Ask, lines
from llmos.hub.errors import HubError, bad_request, unprocessable
from llmos.hub.repos.changes import Changes
from llmos.hub.repos.content import entry_of, large_entries
from llmos.hub.repos.limits import check_sharing
from llmos.hub.repos.names import checked_path

COMMIT = re.compile(r"[0-9a-f]{7,40}")
SHA256 = re.compile(r"[0-9a-f]{64}")
LONGEST_TITLE = 1000  # letters
LONGEST_MESSAGE = 65_536


@dataclass(slots=True)
class Sent:
    """A commit's body as it was read; nothing of it is kept yet."""

    changes: Changes
    small: dict[str, bytes] = field(default_factory=dict)  # content by path
    large: dict[str, tuple[str, int | None]] = field(default_factory=dict)  # sha256, size by path


def read_commit(ask: Ask) -> Sent:
    """Read and check the body. Raises `HubError` 400, 403, 413, 422."""
    first, *rest = lines(ask.body) or [{}]
    if first.get("key") != "header" or not isinstance(first.get("value"), dict):
        raise bad_request("the first line of a commit must be its header")
    sent = Sent(_header(first["value"]))
    for line in rest:
        value = line.get("value")
        if not isinstance(value, dict):
            raise bad_request("each line must be an object with a key and a value")
        _operation(ask, sent, line["key"], value)
    return sent


def enter(connection: Connection, repo_id: int, sent: Sent) -> Changes:
    """The changes with the entries of all files. The small ones are not kept yet.

    Raises `HubError` 400 for a large file that was not sent to this repository before.
    """
    added = sent.changes.added
    wanted = large_entries(connection, repo_id, [oid for oid, _ in sent.large.values()])
    for path, (oid, size) in sent.large.items():
        if size is not None and size != wanted[oid].size:
            raise bad_request(f"{path}: {size} bytes were announced, {wanted[oid].size} were sent")
        added[path] = wanted[oid]
    added |= {path: entry_of(content) for path, content in sent.small.items()}
    return sent.changes


def _header(value: dict[str, Any]) -> Changes:
    title, message = value.get("summary"), value.get("description") or ""
    parent = value.get("parentCommit")
    if not isinstance(title, str) or not isinstance(message, str) or not title.strip():
        raise bad_request("a commit's header needs a summary, and may have a description: texts")
    if "\0" in title or "\0" in message:
        raise bad_request("a commit's summary and description are texts, without NUL")
    title, _, more = title.strip().partition("\n")
    message = "\n\n".join(part.strip() for part in (more, message) if part.strip())
    if len(title) > LONGEST_TITLE or len(message) > LONGEST_MESSAGE:
        raise unprocessable(
            f"a commit's summary has at most {LONGEST_TITLE} letters, its description "
            f"{LONGEST_MESSAGE}"
        )
    if parent is not None and not (isinstance(parent, str) and COMMIT.fullmatch(parent)):
        raise bad_request(f"parentCommit is no commit id: {str(parent)[:60]}")
    return Changes(title, message, parent=parent)


def _operation(ask: Ask, sent: Sent, key: object, value: dict[str, Any]) -> None:
    removed = {
        "deletedFile": sent.changes.removed_entries,  # clients send it for folders as well
        "deletedFolder": sent.changes.removed_folders,
        "deletedEntry": sent.changes.removed_entries,
    }
    path = checked_path(value.get("path"), folder=isinstance(key, str) and key in removed)
    if isinstance(key, str) and key in removed:
        if path in sent.small or path in sent.large:
            raise unprocessable(f"{path} is added and then deleted in one commit: do one of them")
        if path not in removed[key]:
            removed[key].append(path)
        return
    sent.small.pop(path, None)
    sent.large.pop(path, None)  # the last word on a path counts
    if key == "file":
        content = _content(path, value)
        if len(content) > ask.hub.settings.lfs_above:
            raise HubError(413, f"{path} has {len(content):,} bytes: send it as LFS")
        check_sharing(ask.repo, path, len(content))
        sent.small[path] = content
    elif key == "lfsFile":
        oid, size = value.get("oid"), value.get("size")
        if not isinstance(oid, str) or not SHA256.fullmatch(oid):
            raise bad_request(f"{path}: oid must be a sha256 in hexadecimal digits")
        if size is not None and (not isinstance(size, int) or size < 0):
            raise bad_request(f"{path}: size must be a number of bytes")
        check_sharing(ask.repo, path, size or 0, large=True)
        sent.large[path] = (oid, size)
    else:
        raise bad_request(f"unknown operation in a commit: {str(key)[:60]}")


def _content(path: str, value: dict[str, Any]) -> bytes:
    text, encoding = value.get("content"), value.get("encoding", "utf-8")
    if not isinstance(text, str) or encoding not in ("utf-8", "base64"):
        raise bad_request(f"{path}: content must be text, encoding utf-8 or base64")
    try:
        return base64.b64decode(text, validate=True) if encoding == "base64" else text.encode()
    except (binascii.Error, UnicodeEncodeError, ValueError):
        raise bad_request(f"{path}: the content is not what its encoding says") from None
