"""Records as they stand in files of several formats."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmos.data.rows import comma_separated, json_lines, squad, tab_separated
from llmos.errors import DataError

FILE = Path("a.csv")
# What a decoded file can hold: no NUL, no half surrogate pairs.
any_text = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=8)


def values(rows: Any) -> list[dict[str, Any]]:
    return [dict(row.values) for row in rows]


@given(st.lists(st.tuples(any_text, any_text), max_size=5))
def test_csv_gives_back_what_was_written(lines: list[tuple[str, str]]) -> None:
    file = io.StringIO()
    writer = csv.writer(file, quoting=csv.QUOTE_ALL)
    writer.writerows([("a", "b"), *lines])
    expected = [{"a": a, "b": b} for a, b in lines if a or b]
    assert values(comma_separated(file.getvalue(), FILE, "a.csv")) == expected


@given(st.lists(st.tuples(any_text, any_text), max_size=5))
def test_json_lines_give_back_what_was_written(lines: list[tuple[str, str]]) -> None:
    records = [{"a": a, "b": b} for a, b in lines]
    content = "\n".join(json.dumps(record, ensure_ascii=False) for record in records)
    assert values(json_lines(content, FILE, "a.jsonl")) == records


def test_a_csv_record_is_named_by_its_first_line() -> None:
    content = 'a,b\r\n"one\r\ntwo","say ""hi"", then"\r\n\r\n3,\r\n'
    rows = list(comma_separated(content, FILE, "f/a.csv"))
    assert values(rows) == [{"a": "one\r\ntwo", "b": 'say "hi", then'}, {"a": "3", "b": ""}]
    assert [(row.id, row.place) for row in rows] == [
        ("f/a.csv:2", "line 2"),
        ("f/a.csv:5", "line 5"),
    ]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_lines_of_a_csv_file_may_end_in_any_usual_way(end: str) -> None:
    content = end.join(["a,b", "1,2", "3,4"])
    assert values(comma_separated(content, FILE, "a.csv")) == [
        {"a": "1", "b": "2"},
        {"a": "3", "b": "4"},
    ]


def test_huge_fields() -> None:
    usual = csv.field_size_limit()
    text = "一行" * 500_000
    assert values(comma_separated(f"a,b\n{text},x\n", FILE, "a.csv")) == [{"a": text, "b": "x"}]
    assert csv.field_size_limit() == usual
    assert values(tab_separated(f"a\tb\n{text}\tx\n", FILE, "a.tsv")) == [{"a": text, "b": "x"}]


def test_quotes_of_a_tsv_file_are_text() -> None:
    # As in Tatoeba's sentence pairs: quotes in the middle, at one side only, in one language only.
    content = (
        'en\tzh\n"Look," she said.\t“看啊！” 她说道。\r\n"unpaired\t"我也要"\n\n5\u2028 x\t\x0c\n'
    )
    assert values(tab_separated(content, FILE, "a.tsv")) == [
        {"en": '"Look," she said.', "zh": "“看啊！” 她说道。"},
        {"en": '"unpaired', "zh": '"我也要"'},
        {"en": "5\u2028 x", "zh": "\x0c"},
    ]


@pytest.mark.parametrize("content", ["", "\n\n", "a,b", "a,b\n,\n"])
def test_a_table_without_records(content: str) -> None:
    assert values(comma_separated(content, FILE, "a.csv")) == []


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ('a,b\n1,2\n"x"y,2\n', "a.csv line 3 is not CSV"),
        ('a,b\n1,2\n3,"never closed\n4,5\n', "a.csv line 3 is not CSV"),
        ("a,b\n1,2\n\n1,2,3\n", "line 4 has 3 fields, but the first line names 2"),
        ("a,b\n1\n", "line 2 has 1 fields, but the first line names 2"),
        ("a,b,a\n1,2,3\n", "two columns named 'a'"),
    ],
)
def test_a_broken_csv_file(content: str, problem: str) -> None:
    with pytest.raises(DataError, match=r": \w") as caught:
        list(comma_separated(content, FILE, "a.csv"))
    assert problem in str(caught.value) and "\n" not in str(caught.value)


def test_a_broken_tsv_file() -> None:
    with pytest.raises(DataError, match=r"line 2 has 3 fields.* names 2: take tabs"):
        list(tab_separated("a\tb\none\ttab\ttoo many\n", FILE, "a.tsv"))


def test_unnamed_columns_may_be_several() -> None:
    assert values(comma_separated(",,a\n1,2,3\n", FILE, "a.csv")) == [{"": "2", "a": "3"}]


def test_a_squad_file() -> None:
    answers = [{"text": "B", "answer_start": 1}]
    content = {
        "version": "1.1",
        "data": [
            {"title": "t", "paragraphs": []},
            {
                "paragraphs": [
                    {
                        "context": "ABC",
                        "qas": [
                            {"id": "q1", "question": "B?", "answers": answers},
                            {"id": "q2", "question": "C?", "answers": []},
                        ],
                    }
                ]
            },
        ],
    }
    first, second = squad(json.dumps(content), FILE, "a.json")
    assert (first.values["context"], first.values["question"]) == ("ABC", "B?")
    assert first.values["answers"] == answers and second.values["answers"] == []
    assert (first.id, second.id) == ("a.json:1", "a.json:2")
    assert second.place == "data[1].paragraphs[0].qas[1]"


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("{", "a.csv is not JSON"),
        ("[1]", "as a whole has no list of objects 'data'"),
        ('{"data": [1]}', "as a whole has no list of objects 'data'"),
        ('{"data": [{}]}', "a.csv data[0] has no list of objects 'paragraphs'"),
        ('{"data": [{"paragraphs": [{"qas": 5}]}]}', "data[0].paragraphs[0] has no list of"),
    ],
)
def test_a_broken_squad_file(content: str, problem: str) -> None:
    with pytest.raises(DataError, match=r": \w") as caught:
        list(squad(content, FILE, "a.json"))
    assert problem in str(caught.value)
