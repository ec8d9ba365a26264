"""Records of JSON Lines, CSV and TSV, good ones and bad ones."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from llmos.data.reading import streams
from llmos.data.reading.encodings import REPLACED
from llmos.data.reading.streams import DAMAGED, TOO_LONG
from llmos.data.reading.tables import NUL, ONLY_SQUAD
from llmos.data.sources import read_source
from llmos.recipe import DataSection

if TYPE_CHECKING:
    from tests.data.reading.conftest import Read, Write


def test_json_lines(write: Write, read: Read) -> None:
    path = write(
        "a.jsonl",
        b'{"text": "one", "lang": "en", "license": "MIT", "url": "https://a.example/1"}\r\n'
        b"\n"
        b"{broken\n"
        b'{"text": "caf\xe9 au lait"}\n'
        b'{"text": 5}\n'
        b'{"text": " "}\n'
        b'["text"]\n'
        b'{"text": "\\ud800"}\n'
        b'{"text": "a\0b"}\n'
        + b"[" * 100_000
        + b"\n"
        + '{"text": "最後一行寫著很多很多的字"}\n'.encode(),
    )
    found, problems = read()
    assert [(d.id, d.text) for d in found] == [
        ("in/a.jsonl:1", "one"),
        ("in/a.jsonl:4", "caf\ufffd au lait"),
        ("in/a.jsonl:11", "最後一行寫著很多很多的字"),
    ]
    assert (found[0].language, found[0].licence, found[0].url) == (
        "en",
        "MIT",
        "https://a.example/1",
    )
    field = "has no text in the field 'text'"
    bad = "is not a JSON record"
    assert [(p.path.removeprefix(str(path)), p.reason) for p in problems] == [
        (" line 3", bad),
        (" line 5", field),
        (" line 6", "no text"),
        (" line 7", field),
        (" line 8", bad),
        (" line 9", bad),
        (" line 10", bad),
        ("", REPLACED),
    ]


@pytest.mark.parametrize("name", ["a.jsonl", "a.csv", "a.tsv"])
@pytest.mark.parametrize("encoding", ["utf-16", "cp1251", "utf-8-sig"])
def test_tables_in_other_encodings(name: str, encoding: str, write: Write, read: Read) -> None:
    texts = ["Сегодня утром мы долго шли через лес", "и наконец увидели широкую реку"]
    if name == "a.jsonl":
        lines = [json.dumps({"text": text}, ensure_ascii=False) for text in texts]
    else:
        lines = ["text", *texts]
    write(name, "\n".join(lines).encode(encoding))
    found, problems = read(limit=20)
    assert [d.text for d in found] == texts
    assert not problems


def test_the_same_as_the_reader_for_training(write: Write, read: Read) -> None:
    path = write("a.csv", 'id,body,lang\r\n1,"one\r\n""two"", 三",en\r\n\r\n2,four,\r\n')
    write("b.tsv", 'body\tx\n"five\t6\n')
    write("c.jsonl", '{"body": "six"}\n\n{"body": "seven"}')
    found, problems = read(text_field="body", record="text")
    expected = read_source(path.parent, DataSection(text_field="body"), "text").documents
    assert not problems
    assert [(f"in/{d.id}", d.text, d.language) for d in expected] == [
        (d.id, d.text, d.language) for d in found
    ]


@pytest.mark.parametrize("limit", [10, 1 << 20])
def test_csv_with_bad_records(write: Write, read: Read, limit: int) -> None:
    path = write(
        "a.csv",
        b'text,n\none,1\ntwo\nnul\0,3\n"four"x,4\ncaf\xe9,5\n"six\nand more",6\n'
        + b"seven,7\n" * 50,
    )
    found, problems = read(limit=limit)
    assert [(d.id, d.text) for d in found][:1] == [("in/a.csv:2", "one")]
    assert ("in/a.csv:7", "six\nand more") in [(d.id, d.text) for d in found]
    assert len(found) >= 52
    reasons = {p.path.removeprefix(str(path)): p.reason for p in problems}
    assert reasons[" line 3"] == "has more or fewer fields than the first line names"
    assert reasons[" line 4"] == NUL
    assert reasons[" line 5"] == "is not CSV"


def test_a_quote_that_is_never_closed(write: Write, read: Read) -> None:
    write("a.csv", 'text\none\n"two\nthree\n')
    found, problems = read()
    assert [d.text for d in found] == ["one"]
    assert [p.reason for p in problems] == ["is not CSV"]


def test_two_columns_of_one_name(write: Write, read: Read) -> None:
    write("a.csv", "text,text\n1,2\n")
    write("b.txt", "good")
    found, problems = read()
    assert [d.id for d in found] == ["in/b.txt"]
    assert [p.reason for p in problems] == ["has two columns of one name"]


@pytest.mark.parametrize("name", ["a.jsonl", "a.csv", "a.tsv", "a.jsonl.gz"])
def test_a_line_that_is_too_long(name: str, write: Write, read: Read) -> None:
    long = "y" * (streams.LONGEST + 1)
    if "jsonl" in name:
        write(name, f'{{"text": "one"}}\n{{"text": "{long}"}}\n{{"text": "three"}}')
    else:
        write(name, f"text\none\n{long}\nthree")
    found, problems = read()
    assert [d.text for d in found] == ["one", "three"]
    assert [p.reason for p in problems] == [TOO_LONG]


def test_records_before_the_damage_of_an_archive(write: Write, read: Read) -> None:
    lines = [json.dumps({"text": f"{n * 7919 % 100_003} and {n}"}) for n in range(20_000)]
    path = write("a.jsonl.gz", "\n".join(lines))
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    write("b.txt", "the rest")
    found, problems = read()
    assert len(found) > 5000
    texts = [json.loads(line)["text"] for line in lines]
    assert [d.text for d in found] == [*texts[: len(found) - 1], "the rest"]
    assert [(p.path, p.reason) for p in problems] == [(str(path), DAMAGED)]


def test_squad(write: Write, read: Read) -> None:
    answers = [{"text": "Rome", "answer_start": 0}]
    questions = [{"question": "Which city?", "answers": answers}, {"question": "When?"}]
    data = [{"paragraphs": [{"context": "Rome is old.", "qas": questions}]}]
    write("a.json", json.dumps({"data": data}))
    write("b.json", "{")
    found, problems = read(record="question")
    assert [(d.id, d.fields["answer"]) for d in found] == [("in/a.json:1", "Rome")]
    assert [p.reason for p in problems] == ["has no answers", "is not JSON"]
    assert [p.reason for p in read()[1]] == [ONLY_SQUAD] * 2


def test_pairs_of_a_table(write: Write, read: Read) -> None:
    write("a.csv", "en,zh\nHello,你好\nx,\n")
    found, problems = read(record="pair", source_field="en", target_field="zh")
    assert [dict(d.fields) for d in found] == [{"source": "Hello", "target": "你好"}]
    assert [p.reason for p in problems] == ["empty target"]
