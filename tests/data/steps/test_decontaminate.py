"""Decontamination against a brute force over lists of words, in three kinds of scripts."""

from __future__ import annotations

import gzip
import json
import pickle
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from llmos.data.documents import Document
from llmos.data.steps.decontaminate import Decontaminate, ngrams
from llmos.data.steps.step import Drop
from llmos.errors import DataError, UsageError

SENTENCE = (
    "The quick brown fox jumps over the lazy dog while seven wizards quietly box five more jars."
)
CHINESE = "春天来了小河里的冰慢慢地化了孩子们在河边放风筝老人们坐在树下讲从前的故事天很蓝"


def _units(text: str) -> list[tuple[str, float]]:
    """Words of Latin letters, each letter of the others; and how much longer a run is there."""
    found = re.findall(r"[a-z]+|[一-鿿]|[ก-ะ]", text.lower())
    return [(u, 1.0 if u[0] <= "z" else 3.3 if u[0] < "一" else 1.9) for u in found]


def _runs(text: str, words: int) -> set[tuple[str, ...]]:
    units = _units(text)
    found = set()
    for start, (_, letters) in enumerate(units):
        length = words + round(words * (letters - 1))
        if start + length <= len(units):
            found.add(tuple(unit for unit, _ in units[start : start + length]))
    return found


texts = st.lists(
    st.sampled_from(("a", "b", "Ab", " ", " ", ", ", "\n", "。", "天", "地", "ก", "ข")), max_size=60
).map("".join)


@settings(max_examples=60, deadline=None)
@given(st.lists(texts, min_size=1, max_size=4), texts)
def test_runs_are_those_of_a_brute_force(held_out: list[str], text: str) -> None:
    expected = set().union(*(_runs(one, 4) for one in held_out))
    found = set(ngrams(held_out, 4).tolist())
    assert len(found) == len(expected)
    mine = ngrams([text], 4).tolist()
    assert len(set(mine) & found) == len(_runs(text, 4) & expected)


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., str]:
    def write(name: str, content: str) -> str:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(content, "utf-8")
        return str(path)

    return write


def _drop(step: Decontaminate, text: str) -> bool:
    return step(Document("d", text), Counter()) == Drop("contaminated")


def test_thirteen_words_whatever_their_case_and_punctuation(write: Callable[..., str]) -> None:
    step = Decontaminate([write("set.txt", SENTENCE)])
    words = SENTENCE.split()
    shared = " ".join(words[2:15])
    assert len(shared.split()) == 13
    assert _drop(step, f"Some say that {shared} and so on.")
    assert _drop(step, f"Some say: “{shared.upper().replace(' ', ' – ')}”!")
    assert _drop(step, shared.replace(" ", "\n"))
    assert not _drop(step, f"Some say {' '.join(words[2:14])} and so on and on and on.")
    assert not _drop(step, shared.replace("lazy", "sleepy"))
    assert not _drop(step, "") and not _drop(step, "short")
    assert step.found == [{"document": "d", "sets": {"set.txt": 1}}] * 3


def test_scripts_without_spaces_by_letters(write: Callable[..., str]) -> None:
    step = Decontaminate([write("zh.txt", CHINESE)])
    assert _drop(step, f"他写道：{CHINESE[3:28]}。")
    assert _drop(step, "，".join(CHINESE[3:28]))
    assert not _drop(step, f"他写道：{CHINESE[3:27]}。")


def test_all_strings_of_all_formats(write: Callable[..., str], tmp_path: Path) -> None:
    table = pyarrow.table({"question": [SENTENCE], "answers": [[{"text": ["x"]}]]})
    parquet.write_table(table, tmp_path / "set.parquet")
    (tmp_path / "set.jsonl.gz").write_bytes(gzip.compress(json.dumps({"q": SENTENCE}).encode()))
    squad = {"data": [{"paragraphs": [{"context": "x", "qas": [{"question": SENTENCE}]}]}]}
    names = (
        write("set.txt", SENTENCE),
        write("set.md", f"# Title\n\n{SENTENCE}\n"),
        write("set.jsonl", json.dumps({"id": 1, "parts": ["x", {"text": SENTENCE}]}) + "\n"),
        write("set.json", json.dumps(squad)),
        write("set.csv", f'id,text\n1,"{SENTENCE}"\n'),
        write("set.tsv", f"id\ttext\n1\t{SENTENCE}\n"),
        write("folder/set.txt", SENTENCE),
        str(tmp_path / "set.parquet"),
        str(tmp_path / "set.jsonl.gz"),
    )
    for name in names:
        path = name if "folder" not in name else str(Path(name).parent)
        step = Decontaminate([path])
        assert _drop(step, SENTENCE), name
        assert step.found == [{"document": "d", "sets": {Path(path).name: 5}}]


def test_which_set_and_how_much(write: Callable[..., str]) -> None:
    other = SENTENCE.replace("wizards", "witches")
    one, two = write("one.txt", f"{SENTENCE}\n"), write("two.txt", f"{other}\n{SENTENCE}")
    made = Decontaminate([one, two])
    assert len(pickle.dumps(made)) < 400  # the settings, not the sets
    step = pickle.loads(pickle.dumps(made))
    for identifier, text in (("a", SENTENCE), ("b", other), ("c", "other text")):
        step(Document(identifier, text), Counter())
    assert step.found == [
        {"document": "a", "sets": {"one.txt": 5, "two.txt": 5}},
        {"document": "b", "sets": {"two.txt": 5}},
    ]
    assert made.found == []


def test_runs_do_not_go_from_one_record_to_the_next(write: Callable[..., str]) -> None:
    words = [f"word{chr(97 + n)}" for n in range(26)]
    lines = [json.dumps({"a": " ".join(words[:13])}), json.dumps({"a": " ".join(words[13:])})]
    step = Decontaminate([write("set.jsonl", "\n".join(lines))])
    assert _drop(step, " ".join(words[:13]))
    assert not _drop(step, " ".join(words[5:20]))


def test_what_cannot_be_used_is_told(write: Callable[..., str], tmp_path: Path) -> None:
    def refused(kind: type[Exception], match: str, *sets: str, **options: Any) -> None:
        with pytest.raises(kind, match=match):
            Decontaminate(sets, **options)

    refused(DataError, "does not exist", str(tmp_path / "nothing"))
    refused(DataError, "is no evaluation set", write("set.bin", "x"))
    refused(DataError, "no 13 words in a row", write("short.txt", "only a few words"))
    refused(DataError, "is not JSON", write("bad.json", "{"))
    refused(DataError, "line 1 is not a JSON record", write("bad.jsonl", "{"))
    refused(DataError, "no Parquet", write("bad.parquet", "x" * 100))
    (tmp_path / "latin.txt").write_bytes(b"\xe9\xe8")
    refused(DataError, "cannot be read", str(tmp_path / "latin.txt"))
    name = write("set.txt", SENTENCE)
    refused(UsageError, "two evaluation sets", name, write("folder/set.txt", SENTENCE))
