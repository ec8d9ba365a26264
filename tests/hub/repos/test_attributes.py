"""Rules of .gitattributes and .gitignore, against git's own reading of them."""

from __future__ import annotations

import subprocess
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from llmos.hub.repos.attributes import DEFAULT_ATTRIBUTES, Ignored, LargeFiles

PATHS = [
    "a.bin",
    "a.txt",
    "x/a.bin",
    "x/y/a.txt",
    "saved_model/a",
    "saved_model/x/y",
    "other/saved_model/x/y",
    "events.out.tfevents.1",
    "x/m.tar.gz",
    "build/x",
    "x/build/y.txt",
    "keep.log",
    "x/keep.log",
    "#a",
    "!a",
    "a b",
    "[a]",
]
parts = st.sampled_from(
    ["*", "**", "a*", "*.txt", "x", "y", "build", "?.bin", "[a-c].txt", "keep.log"]
)
patterns = st.builds(
    lambda negated, rooted, middle, end: negated + rooted + "/".join(middle) + end,
    st.sampled_from(["", "", "", "!"]),
    st.sampled_from(["", "/"]),
    st.lists(parts, min_size=1, max_size=3),
    st.sampled_from(["", "", "/"]),
)


def git(folder: Path, *command: str, text: str = "") -> str:
    done = subprocess.run(
        ["git", "-C", str(folder), *command], capture_output=True, text=True, input=text
    )
    return done.stdout


def test_the_default_rules_are_read_as_git_does(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    (tmp_path / ".gitattributes").write_bytes(
        DEFAULT_ATTRIBUTES + b"*.txt filter=lfs\nx/*.txt -filter\n/a.txt !filter\n# c filter=lfs\n"
    )
    told = git(tmp_path, "check-attr", "filter", "--stdin", text="\n".join(PATHS) + "\n")
    theirs = {line.split(": filter: ")[0] for line in told.splitlines() if line.endswith(": lfs")}
    rules = LargeFiles((tmp_path / ".gitattributes").read_bytes())
    assert {path for path in PATHS if rules.take(path)} == theirs


def test_ignore_rules_are_read_as_git_does(tmp_path_factory) -> None:
    folder = tmp_path_factory.mktemp("git")
    git(folder, "init", "-q")
    for path in PATHS:  # git asks the disk what is a folder
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text("")

    @settings(max_examples=60, deadline=None)
    @given(st.lists(patterns, max_size=4))
    def check(lines: list[str]) -> None:
        text = "\n".join([*lines, r"\#a", r"\!a", "a\\ b  "]) + "\n"
        (folder / ".gitignore").write_text(text)
        told = git(folder, "check-ignore", "--no-index", "--stdin", text="\n".join(PATHS) + "\n")
        rules = Ignored(text)
        assert {path for path in PATHS if rules.leave_out(path)} == set(told.splitlines()), text

    check()


def test_hostile_rules_take_no_time() -> None:
    rules = Ignored("**/" * 300 + "*a" * 100 + "b\n" + "[" * 1000 + "\n\\\n")
    assert not rules.leave_out("/".join(["a" * 200] * 5))
    assert not LargeFiles(b"\xff\xfe filter=lfs\n" * 3000).take("a")
