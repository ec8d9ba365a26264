"""Records of several parts: what is read from a folder of them, and what is refused."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from llmos.data.documents import Document
from llmos.data.records import RECORDS
from llmos.data.sources import Source, read_source
from llmos.errors import DataError
from llmos.recipe import DataSection


def write(path: Path, *records: Any) -> Path:
    """A file of these records, in the format of its name."""
    name = path.name.lower()
    if ".csv" in name or ".tsv" in name:
        separator = "," if ".csv" in name else "\t"
        lines = [separator.join(record) for record in (records[0], *(r.values() for r in records))]
        content = "\n".join(lines)
    elif ".jsonl" in name:
        content = "\n".join(json.dumps(record) for record in records)
    else:
        content = json.dumps(records[0])
    data = b"\xef\xbb\xbf" + content.encode()  # a byte order mark is no text
    path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    return path


def read(path: Path, record: str, **names: str) -> Source:
    return read_source(path, DataSection(**names), record)


def only(path: Path, record: str, **names: str) -> Document:
    (document,) = read(path, record, **names).documents
    return document


def refused(path: Path, record: str, **names: str) -> str:
    """The message of the error, which must be one line with a next step behind a colon."""
    with pytest.raises(DataError, match=r": \w") as caught:
        read(path, record, **names)
    assert "\n" not in str(caught.value)
    return str(caught.value)


NAMES = ("a.jsonl", "a.jsonl.gz", "a.csv", "a.csv.gz", "a.tsv", "A.TSV.gz")


@pytest.mark.parametrize("name", NAMES)
def test_pairs(tmp_path: Path, name: str) -> None:
    write(tmp_path / name, {"en": "Hi.", "lang": "en-zh", "zh": "嗨。"})
    document = only(tmp_path, "pair", source_field="en", target_field="zh")
    assert document.fields == {"source": "Hi.", "target": "嗨。"}
    assert (document.text, document.key) == ("Hi.\n嗨。", "Hi.")
    assert document.id.startswith(f"{name}:") and document.language == "en-zh"


@pytest.mark.parametrize("name", NAMES)
def test_labelled_texts(tmp_path: Path, name: str) -> None:
    write(tmp_path / name, {"text": "很好", "language": "zh", "label": "positive"})
    document = only(tmp_path, "labelled")
    assert document.fields == {"text": "很好", "label": "positive"}
    assert (document.text, document.key, document.language) == ("很好", "很好", "zh")


@pytest.mark.parametrize(("label", "name"), [(2, "2"), (True, "true"), ("2", "2")])
def test_labels_may_be_numbers_and_truth_values(tmp_path: Path, label: Any, name: str) -> None:
    write(tmp_path / "a.jsonl", {"text": "x", "label": label})
    assert only(tmp_path, "labelled").fields["label"] == name


@pytest.mark.parametrize("name", NAMES)
def test_a_prompt_and_an_answer_are_a_chat(tmp_path: Path, name: str) -> None:
    write(tmp_path / name, {"q": "1+1?", "a": "Two: 二."})
    document = only(tmp_path, "chat", source_field="q", target_field="a")
    assert json.loads(document.fields["messages"]) == [
        {"role": "user", "content": "1+1?"},
        {"role": "assistant", "content": "Two: 二."},
    ]
    assert (document.text, document.key) == ("1+1?\nTwo: 二.", "1+1?")


def test_a_list_of_messages_is_a_chat(tmp_path: Path) -> None:
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "A?"},
        {"role": "assistant", "content": "B."},
        {"role": "user", "content": "C?"},
        {"role": "assistant", "content": ""},
    ]
    with_more = [{**message, "id": 7} for message in messages]
    write(tmp_path / "a.jsonl", {"messages": with_more, "source": "not this", "target": "nor this"})
    document = only(tmp_path, "chat")
    assert json.loads(document.fields["messages"]) == messages
    assert document.text == "Be brief.\nA?\nB.\nC?\n"
    assert document.key == "A?"


CONTEXT = "巴黎是法国的首都。Paris is the capital."
QUESTION = {"context": CONTEXT, "question": "首都?"}
PARIS = CONTEXT.index("Paris")


@pytest.mark.parametrize(
    "answer",
    [
        {"answers": [{"text": "Paris", "answer_start": PARIS}]},
        {"answers": {"text": ["Paris", "capital"], "answer_start": [PARIS, 24]}},
        {"answer": "Paris", "answer_start": PARIS},
        {"answer": "Paris", "answer_start": str(PARIS)},
        {"answer": "Paris"},
        {"answers": "Paris", "answer_start": None},
        {"answer": {"text": "Paris", "answer_start": PARIS}},
        # The first one that stands where it is said to.
        {"answers": {"text": ["", "Lyon", "Paris"], "answer_start": [0, 0, PARIS]}},
    ],
)
def test_questions_in_json_lines(tmp_path: Path, answer: dict[str, Any]) -> None:
    write(tmp_path / "a.jsonl", {**QUESTION, **answer})
    source = read(tmp_path, "question")
    (document,) = source.documents
    assert document.fields == {**QUESTION, "answer": "Paris", "start": str(PARIS)}
    assert (document.text, document.key) == (f"{CONTEXT}\n首都?", CONTEXT)
    assert source.passed_over == {}


def test_questions_in_a_table(tmp_path: Path) -> None:
    record = {**QUESTION, "answer": "Paris", "answer_start": str(PARIS)}
    write(tmp_path / "a.tsv", record, {**record, "answer_start": ""})
    first, second = (d.fields for d in read(tmp_path, "question").documents)
    assert first == second and first["start"] == str(PARIS)


@pytest.mark.parametrize("name", ["a.json", "A.JSON", "a.json.gz"])
def test_questions_of_squad(tmp_path: Path, name: str) -> None:
    questions = [
        {"question": "Where?", "answers": [{"text": "Paris", "answer_start": PARIS}]},
        {"question": "Who?", "answers": [{"text": "Paris", "answer_start": PARIS + 1}]},
        {"question": "None?", "answers": [], "is_impossible": True},
        {"question": "Beyond?", "answers": [{"text": "Paris", "answer_start": 10_000}]},
        {"question": "Before?", "answers": [{"text": ".", "answer_start": -1}]},
        {"question": " ", "answers": [{"text": "Paris", "answer_start": PARIS}]},
    ]
    paragraph = {"context": CONTEXT, "qas": questions}
    write(tmp_path / name, {"data": [{"paragraphs": [paragraph], "lang": "fr"}]})
    write(tmp_path / "card.json", {"languages": ["fr"]})
    source = read(tmp_path, "question")
    assert [d.fields["question"] for d in source.documents] == ["Where?"]
    assert source.documents[0].language == "fr" and source.languages == ("fr",)
    assert source.passed_over == {
        "empty question": 1,
        "no answer": 1,
        "the answer is not where it is said to be in the context": 3,
    }


def test_records_with_an_empty_part_are_counted(tmp_path: Path) -> None:
    pairs = [("a", "b"), ("", "b"), ("a", " \u3000"), ("c", "d")]
    write(tmp_path / "a.jsonl", *({"source": s, "target": t} for s, t in pairs))
    source = read(tmp_path, "pair")
    assert [d.id for d in source.documents] == ["a.jsonl:1", "a.jsonl:4"]
    assert source.passed_over == {"empty source": 1, "empty target": 1}
    silent = [{"role": "user", "content": "?"}, {"role": "assistant", "content": " "}]
    write(tmp_path / "a.jsonl", {"messages": []}, {"messages": silent})
    message = refused(tmp_path, "chat")
    assert "holds no records of the kind chat (2 records: no answer)" in message


def test_only_files_of_records_are_read(tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl", {"source": "a", "target": "b"})
    for name in ("readme.md", "b.txt", "c.json", "card.json"):
        write(tmp_path / name, {})
    assert read(tmp_path, "pair").skipped == ["b.txt", "c.json", "readme.md"]
    (tmp_path / "a.jsonl").unlink()
    message = refused(tmp_path, "pair")
    assert "(3 files of other kinds were passed over): put .jsonl, .csv, .tsv files" in message


@pytest.mark.parametrize(
    ("record", "values", "problem"),
    [
        ("pair", {"source": "a", "Target": "b"}, "'target' (it has 'source', 'Target'): set data."),
        (
            "pair",
            {"source": ["a"], "target": "b"},
            "field 'source' (but [\"a\"]): set data.source_",
        ),
        ("pair", {"source": None, "target": "b"}, "no text in the field 'source' (but null)"),
        ("pair", {}, "no text in the field 'source' (it has no fields)"),
        ("pair", {"source": "a", "target": 5}, "in the field 'target'"),
        ("labelled", {"text": "a", "label": 0.5}, "'label' (but 0.5): set data.label_field"),
        ("labelled", {"text": "a", "label": "half \ud83d"}, "half of a surrogate pair"),
        ("chat", {"messages": "x"}, "has messages that are no list of objects: write"),
        ("chat", {"messages": ["x"]}, "has messages that are no list of objects: write"),
        ("chat", {"messages": [{"from": "gpt", "value": "x"}]}, "message 1 has no text in the"),
        ("chat", {"messages": [{"role": "tool", "content": "x"}]}, "message 1 has the role 'tool'"),
        ("chat", {"messages": [{"role": "user", "content": []}]}, "in the field 'content'"),
        ("chat", {"prompt": "x", "answer": "y"}, "in the field 'source' (it has 'prompt', 'answer"),
        ("question", {"context": "c", "question": "q"}, "has no answers: write for example"),
        ("question", {**QUESTION, "answers": [5]}, "has no answers: write for example"),
        ("question", {**QUESTION, "answers": {"text": ["x"]}}, "'text' (but [\"x\"])"),
        ("question", {**QUESTION, "answers": [{"answer_start": 1}]}, "has no text in the field"),
        ("question", {**QUESTION, "answer": "x", "answer_start": "one"}, "answer_start 'one'"),
        (
            "question",
            {**QUESTION, "answer": "x", "answer_start": 1.5},
            "has the answer_start '1.5'",
        ),
        ("question", {"question": "q", "answer": "x"}, "no text in the field 'context'"),
    ],
)
def test_a_record_that_lacks_a_part(
    tmp_path: Path, record: str, values: dict[str, Any], problem: str
) -> None:
    write(tmp_path / "a.jsonl", values)
    message = refused(tmp_path, record)
    assert f"{tmp_path / 'a.jsonl'} line 1 " in message and problem in message


def test_names_that_may_be_texts_are_shown_in_part(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("Somebody's private words without a header\tb\nx\ty\n")
    message = refused(tmp_path, "labelled")
    assert "Somebody's private words" in message and "without" not in message


def test_every_kind_has_what_the_documents_promise(tmp_path: Path) -> None:
    record = {**QUESTION, "answer": "Paris", "text": "t", "label": "l", "source": "s"}
    write(tmp_path / "a.jsonl", {**record, "target": "r"})
    found = {kind: set(only(tmp_path, kind).fields) for kind in RECORDS}
    assert found == {
        "text": set(),
        "pair": {"source", "target"},
        "chat": {"messages"},
        "labelled": {"text", "label"},
        "question": {"context", "question", "answer", "start"},
    }
