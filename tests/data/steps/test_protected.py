"""A member's own patterns: dropped, counted without telling them, and proven to be gone."""

from __future__ import annotations

import pickle
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
import regex
from hypothesis import given, settings
from hypothesis import strategies as st

from llmos.data.documents import Document
from llmos.data.protection.patterns import Patterns
from llmos.data.protection.unicode_classes import for_any_script
from llmos.data.steps.protected import Protected, pattern_count, prove
from llmos.data.steps.step import Drop
from llmos.errors import DataError
from llmos.records import JSON
from llmos.storage import sha256_file


def _file(folder: Path, *lines: str) -> Path:
    path = folder / "patterns.txt"
    path.write_text("\n".join(lines), "utf-8")
    return path


def _matches(folder: Path, line: str, text: str) -> bool:
    return Patterns.load(_file(folder, line)).lines(text) == [1]


@pytest.mark.parametrize(
    ("line", "yes", "no"),
    [
        ("Project Owl", "the PROJECT  owl", "the projects owl"),
        ("Project Owl", "project\n\u00a0\u3000Owl-2", "projectowl"),
        ("  a.b (c)*  ", "x A.B (C)* y", "aab ccc"),
        ("École", "ÉCOLE", "ecole"),
        ("cafe\u0301", "un café", "cafe"),  # NFC, as the text is
        ("秘密项目", "这是秘密项目的", "秘密的项目"),
        ("/owl/", "an owl", "an OWL"),
        ("/owl/i", "an OWL", "an ow"),
        ("/école/wi", "L'École.", "écoles"),
        ("/école/w", "école", "préécole"),
        (r"/^ID-\d{3}$/", "x\nID-١٢٣\ny", "see ID-123"),
        (r"/\w+@corp/", "élodie@corp", "@corp"),
        (r"/[\w.]+=\S\S/", "é.é=xy", "é.é= xy"),
        (r"/[]a]b/", "]b", "cb"),
        (r"/[[:digit:]\s]x/", "\u3000x", "ax"),
    ],
)
def test_lines(tmp_path: Path, line: str, yes: str, no: str) -> None:
    assert _matches(tmp_path, line, yes)
    assert not _matches(tmp_path, line, no)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.sampled_from((r"\w", r"\d", r"\s", r"\W", "[a\\d]", "[^\\s]", "a", "+", "é", "٣", ".")),
        min_size=1,
        max_size=5,
    ),
    st.text("aé٣_ \u3000-b\n", max_size=8),
)
def test_classes_mean_what_they_mean_in_the_library_regex(parts: list[str], text: str) -> None:
    import re2

    expression = "".join(parts)
    try:
        reference = regex.compile(expression)
    except regex.error:
        return
    if "++" in expression or expression.startswith("+"):
        return  # possessive there, refused here
    compiled = re2.compile(for_any_script(expression))
    assert (compiled.search(text) is not None) is (reference.search(text) is not None)


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("/(/", "RE2 says: missing"),
        (r"/(a)\1/", "RE2 says"),
        ("/(?=a)b/", "RE2 says"),
        ("/(?P<x>a)/", "groups with names"),
        ("/a/x", "flag x is unknown"),
        (r"/\bname\b/", "ASCII letters only"),
        (r"/[\W]/", "within brackets"),
        (r"/\Qa/", "put a"),
        ("/[[:x/", "without"),
        ("x" * 1001, "1001 characters"),
        ("/a*/", "matches an empty text"),
        ("/x|/", "matches an empty text"),
    ],
)
def test_a_line_that_is_no_pattern_is_told_but_not_shown(
    tmp_path: Path, line: str, problem: str
) -> None:
    with pytest.raises(DataError, match=f"line 3 is no pattern: .*{problem}"):
        Patterns.load(_file(tmp_path, "# names", "fine", line))


def test_a_file_without_patterns_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no pattern"):
        Patterns.load(_file(tmp_path, "# nothing", ""))
    with pytest.raises(DataError, match="cannot be read"):
        Patterns.load(tmp_path / "nothing")


def test_no_expression_is_slow(tmp_path: Path) -> None:
    # In a backtracking engine each of these takes longer than the universe has lasted.
    patterns = Patterns.load(_file(tmp_path, "/(a+)+b/", "/(a|aa)*c/", "/(.*)(.*)(.*)(.*)x$/"))
    assert patterns.lines("a" * 1_000_000) == []


def test_counts_name_lines_and_nothing_else(tmp_path: Path) -> None:
    path = _file(tmp_path, "# ours", "Owl", "", "/wren/i", "intranet.example")
    made = Protected(str(path))
    assert pattern_count(path) == 3
    assert made.patterns.sha256 == sha256_file(path)
    step = pickle.loads(pickle.dumps(made))
    counts: Counter[str] = Counter()
    fine = Document("a", "a bird", url="https://example.org/")
    assert step(fine, counts) is fine
    assert step(Document("b", "owl and WREN"), counts) == Drop("protected")
    assert step(Document("c", "x", url="https://intranet.example/"), counts) == Drop("protected")
    assert step(Document("d", "x", fields={"text": "x", "label": "owl"}), counts) == Drop(
        "protected"
    )
    assert counts == {"protected_line_2": 2, "protected_line_4": 1, "protected_line_5": 1}


def test_proof(tmp_path: Path, prepare_folder: Callable[..., JSON]) -> None:
    messages = '[{"role": "user", "content": "Who?"}, {"role": "assistant", "content": "An owl."}]'
    documents = [
        Document("owl", "a bird", source="owl"),  # its origin is not trained on
        Document("b", "the\nowl\n"),
        Document("c", "Who?\nAn owl.", fields={"messages": messages}),
        Document("d", "x", url="https://owl.example/"),
    ]
    prepare_folder(tmp_path / "folder", [documents[:2], documents[2:]])
    assert prove(tmp_path / "folder", _file(tmp_path, "owl")) == 3
    assert prove(tmp_path / "folder", _file(tmp_path, "eagle")) == 0


def test_many_patterns_at_once(tmp_path: Path) -> None:
    names = [f"Name{n:05d} Surname{n * 7:06d}" for n in range(1000)]
    patterns = Patterns.load(_file(tmp_path, *names))
    assert patterns.lines(f"so said name00999\nsurname{999 * 7:06d} then") == [1000]
    assert patterns.lines("nobody " * 1000) == []
