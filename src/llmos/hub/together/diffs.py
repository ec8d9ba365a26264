"""What a pull request changes, as text: the unified diff that `git diff` prints and `git apply`
takes. Large files, and those that are no text, are only named."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence

from llmos.hub.git.entries import Entry
from llmos.hub.git.objects import pointer
from llmos.hub.hub import Hub
from llmos.hub.repos.delivery import text_of

LARGEST_FILE = 256 << 10  # bytes
MOST_LINES = 3000  # of a changed part: comparing takes up to the square of it
MOST_FILES = 300
LONGEST = 1 << 20  # letters of the whole text
NOTHING = "0" * 40
Change = tuple[str, Entry | None, Entry | None]


def unified(hub: Hub, changes: Sequence[Change]) -> str:
    """The diff of (path, entry before, entry after)."""
    parts: list[str] = []
    length = 0
    for path, before, after in changes[:MOST_FILES]:
        text = file_diff(hub, path, before, after)
        length += len(text)
        if length > LONGEST:
            break
        parts.append(text)
    if len(parts) < len(changes):
        parts.append(f"# {len(changes) - len(parts)} more files are changed\n")
    return "".join(parts)


def file_diff(hub: Hub, path: str, before: Entry | None, after: Entry | None) -> str:
    """The diff of one file."""
    head = f"diff --git a/{path} b/{path}\n"
    if before is None:
        head += "new file mode 100644\n"
    if after is None:
        head += "deleted file mode 100644\n"
    old_id, new_id = (entry.oid if entry else NOTHING for entry in (before, after))
    head += f"index {old_id}..{new_id}" + (" 100644\n" if before and after else "\n")
    names = (f"a/{path}" if before else "/dev/null", f"b/{path}" if after else "/dev/null")
    texts = [_text(hub, path, entry) for entry in (before, after)]
    if texts[0] is None or texts[1] is None:
        return head + f"Binary files {names[0]} and {names[1]} differ\n"
    body = "".join(_hunks(_lines(texts[0]), _lines(texts[1])))
    return head + (f"--- {names[0]}\n+++ {names[1]}\n{body}" if body else "")


def _text(hub: Hub, path: str, entry: Entry | None) -> str | None:
    if entry is None:
        return ""
    if entry.lfs:
        return pointer(entry.key, entry.size).decode()
    return text_of(hub, path, entry, LARGEST_FILE)


def _lines(text: str) -> list[str]:
    """Lines as git counts them: only a line feed ends one."""
    parts = text.split("\n")
    lines = [part + "\n" for part in parts[:-1]]
    return lines + ([parts[-1]] if parts[-1] else [])


def _hunks(old: Sequence[str], new: Sequence[str]) -> Iterator[str]:
    """The hunks, with three lines around each change."""
    for group in _groups(old, new):
        first, last = group[0], group[-1]
        yield f"@@ -{_range(first[1], last[2])} +{_range(first[3], last[4])} @@\n"
        for tag, from_old, to_old, from_new, to_new in group:
            if tag == "equal":
                yield from (_marked(" ", line) for line in old[from_old:to_old])
            else:
                yield from (_marked("-", line) for line in old[from_old:to_old])
                yield from (_marked("+", line) for line in new[from_new:to_new])


def _marked(sign: str, line: str) -> str:
    ended = line if line.endswith("\n") else line + "\n\\ No newline at end of file\n"
    return sign + ended


def _range(start: int, stop: int) -> str:
    length = stop - start
    if length == 1:
        return str(start + 1)
    return f"{start + 1 if length else start},{length}"


def _groups(old: Sequence[str], new: Sequence[str]) -> list[list[tuple[str, int, int, int, int]]]:
    """Changes as difflib groups them. What is the same at both ends is not compared, and a part in
    between that is too long to compare is one change."""
    same_start = 0
    while same_start < min(len(old), len(new)) and old[same_start] == new[same_start]:
        same_start += 1
    most = min(len(old), len(new)) - same_start
    same_end = 0
    while same_end < most and old[-1 - same_end] == new[-1 - same_end]:
        same_end += 1
    start = max(0, same_start - 3)
    ends = [len(lines) - max(0, same_end - 3) for lines in (old, new)]
    middle_old, middle_new = old[start : ends[0]], new[start : ends[1]]
    if max(len(middle_old), len(middle_new)) > MOST_LINES:
        around, after = same_start - start, min(same_end, 3)
        stop_old, stop_new = ends[0] - after, ends[1] - after
        group = [
            ("equal", start, start + around, start, start + around),
            ("replace", start + around, stop_old, start + around, stop_new),
            ("equal", stop_old, ends[0], stop_new, ends[1]),
        ]
        return [group]
    matcher = difflib.SequenceMatcher(None, middle_old, middle_new)
    return [
        [(tag, a + start, b + start, c + start, d + start) for tag, a, b, c, d in group]
        for group in matcher.get_grouped_opcodes(3)
    ]
