"""Suites are checked like recipes, and their items are what the files say."""

from __future__ import annotations

import copy
import gzip
import json
import os
from pathlib import Path
from typing import Any

import pytest

from llmos.errors import UsageError
from llmos.evaluation.items import load_items
from llmos.evaluation.quantities import quantities
from llmos.evaluation.suites import Benchmark, benchmark, load_suite, suite, suites

SHARED = Path(
    os.environ.get("LLMOS_SHARED_DATA") or Path(__file__).parents[2].parent / "shared" / "data"
)


def one(values: dict[str, Any], **changes: Any) -> Benchmark:
    """The first benchmark with some values changed; None removes one."""
    changed = {**values["benchmarks"][0], **changes}
    return benchmark({name: value for name, value in changed.items() if value is not None})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"metricks": ["chrf"]}, "metricks is not known: did you mean metrics?"),
        ({"metrics": ["accuracies"]}, "no metric 'accuracies'"),
        ({"metrics": []}, "metrics is empty"),
        ({"metrics": "accuracy"}, "metrics is 'accuracy', not"),
        ({"metrics": ["macro_f1"]}, "macro_f1 without labels"),
        ({"task": "translate"}, "no task 'translate': did you mean translation?"),
        ({"data": {"path": "x", "format": "jsonlines"}}, "data.format 'jsonlines'"),
        ({"data": {"path": "../x", "format": "jsonl"}}, "within the folder of --data"),
        ({"data": {"path": "/x", "format": "jsonl"}}, "within the folder of --data"),
        ({"data": {"path": "x", "format": "jsonl", "limits": 3}}, "data.limits is not known"),
        ({"data": {"path": "x"}}, "data.format is missing"),
        ({"inputs": {"contexts": "{q}"}}, "inputs.contexts is not known: did you mean context?"),
        ({"inputs": {}}, "inputs.context is missing"),
        ({"choices": None}, "choices is missing"),
        ({"choices": [True, False]}, "choices[0] is True, not a text: put it in quotes"),
        ({"choices": {"find": "(", "text": "{q}"}}, "choices is no regular expression"),
        ({"program": "{prediction}"}, "program has no part in choice"),
        ({"decoding": {"max_tokens": 3}}, "decoding.max_tokens is not known: did you mean"),
        ({"shots": -1}, "shots and limit are 0 or more"),
        ({"shots": "3"}, "shots is '3', not int"),
        ({"name": "A b"}, "use lower-case letters"),
    ],
)
def test_what_is_not_in_order_is_named(sums: Any, changes: Any, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        one(sums, **changes)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_task_has_metrics_of_its_own(sums: Any) -> None:
    part = one(sums, task="translation", choices=None, inputs={"text": "{q}"}, metrics=None)
    assert list(quantities(part)) == ["chrf", "bleu"]


def test_a_suite_as_a_whole(sums: Any, tmp_path: Path) -> None:
    assert [part.name for part in suite(sums).benchmarks] == ["choose", "say"]
    assert suite(sums).only(["say"]).benchmarks[0].name == "say"
    with pytest.raises(UsageError, match="no benchmark 'sai': did you mean say"):
        suite(sums).only(["sai"])
    twice = {**sums, "benchmarks": sums["benchmarks"][:1] * 2}
    with pytest.raises(UsageError, match="two benchmarks are called 'choose'"):
        suite(twice)
    with pytest.raises(UsageError, match="not keys with values"):
        suite(["choose"])
    file = tmp_path / "s.yaml"
    file.write_text("name: a\nname: b\nbenchmarks: []\n")
    with pytest.raises(UsageError, match=r"s\.yaml: the key 'name' stands twice"):
        load_suite(str(file))
    file.write_text("name: [")
    with pytest.raises(UsageError, match="is not YAML"):
        load_suite(str(file))
    with pytest.raises(UsageError, match="one of public"):
        load_suite("publik")


def test_the_hash_is_of_what_is_measured(sums: Any) -> None:
    before = suite(sums).sha256()
    assert suite({**sums, "name": "other", "about": "words"}).sha256() == before
    changed = copy.deepcopy(sums)
    changed["benchmarks"][1]["extract"] = r"\d"
    assert suite(changed).sha256() != before


@pytest.mark.parametrize("name", suites())
def test_our_suites_are_in_order_and_survive_json(name: str) -> None:
    for part in load_suite(name).benchmarks:
        assert benchmark(json.loads(json.dumps(part.to_json()))) == part


def test_our_suites_fit_their_data() -> None:
    if not SHARED.is_dir():
        pytest.skip(f"no folder {SHARED}: set LLMOS_SHARED_DATA to the data folder")
    sizes = {part.name: len(load_items(part, SHARED)) for part in load_suite("public").benchmarks}
    assert sizes["xquad-en"] == 322
    assert sizes["bbh-boolean"] == 250
    assert sizes["nusax-sentiment-id"] == 400
    assert sizes["gsm8k"] == 300
    assert min(sizes.values()) >= 200


def test_items_of_every_format(sums: Any, tmp_path: Path) -> None:
    plain = {"task": "completion", "choices": None, "inputs": {"prompt": "{a}"}}
    files: dict[str, tuple[str | bytes, dict[str, Any], str]] = {
        "t.csv": ("a,b\n1,x\n2,\n3,z\n", {"format": "csv"}, "{b}"),
        "t.tsv.gz": (
            gzip.compress(b"1\tx\n2\t\n3\tz\n"), {"format": "tsv", "header": False}, "{1}",
        ),
        "t.jsonl": (
            '{"a": 1, "b": ["x"]}\n{"a": 2, "b": []}\n{"a": 3, "b": ["z"]}\n',
            {"format": "jsonl"}, "{b}",
        ),
        "t.json": (
            '{"all": {"of": [{"a": "1", "b": "x"}, {"a": "3", "b": "z"}]}}',
            {"format": "json", "records": "all.of"}, "{b}",
        ),
    }  # fmt: skip
    for name, (content, kind, references) in files.items():
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        inputs = {"prompt": "{0}"} if name.startswith("t.tsv") else plain["inputs"]
        part = one(
            sums, **{**plain, "inputs": inputs}, data={"path": name, **kind}, references=references
        )
        found = [(item.inputs["prompt"], item.references) for item in load_items(part, tmp_path)]
        assert found == [("1", ("x",)), ("3", ("z",))], name


def test_lines_that_belong_together(sums: Any, tmp_path: Path) -> None:
    (tmp_path / "a").write_text("one\ntwo\n")
    (tmp_path / "b").write_text("eins\nzwei\n")
    (tmp_path / "c").write_text("un\n")
    kind = {"task": "completion", "choices": None, "inputs": {"prompt": "{0}"}}
    part = one(sums, **kind, data={"path": ["a", "b"], "format": "lines"}, references="{1}")
    assert [item.references for item in load_items(part, tmp_path)] == [("eins",), ("zwei",)]
    part = one(sums, **kind, data={"path": ["a", "c"], "format": "lines"}, references="{1}")
    with pytest.raises(UsageError, match="have 3, 2 lines"):
        load_items(part, tmp_path)


def test_a_text_is_cut_at_line_breaks_and_nothing_is_lost(sums: Any, tmp_path: Path) -> None:
    text = "\n \n".join(f"Line {n} " + "of words " * 60 for n in range(12))
    (tmp_path / "t.txt").write_text(text)
    part = one(
        sums, task="perplexity", choices=None, references=None, metrics=["bits_per_byte"],
        inputs={"text": "{text}", "before": "{before}"}, data={"path": "t.txt", "format": "text"},
    )  # fmt: skip
    found = [item.inputs for item in load_items(part, tmp_path)]
    assert "".join(one["text"] for one in found) == text.rstrip()
    assert [one["before"] for one in found[1:]] == [one["text"] for one in found[:-1]]
    assert all(not one["before"][-1:].isspace() for one in found)


def test_limits_spread_and_examples_are_not_asked(sums: Any, data: Path) -> None:
    source = {"path": "questions.jsonl", "format": "jsonl", "limit": 2}
    found = load_items(one(sums, data=source), data)
    assert [item.references[0] for item in found] == ["3", "15"]
    part = one(sums, shots=1)
    found = load_items(part, data)
    assert len(found) == 3
    assert found[0].inputs["context"] == "What is 1 plus 2? 3\n\nWhat is 2 plus 2?"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"inputs": {"context": "{question}"}}, "line 1 has no 'question': it has ['q', 'answer'"),
        ({"references": "{q}"}, "is none of its choices"),
        ({"data": {"path": "nothing.jsonl", "format": "jsonl"}}, "is not there: name the folder"),
        ({"data": {"path": "n*.jsonl", "format": "jsonl"}}, "is not there: name the folder"),
        ({"data": {"path": "questions.jsonl", "format": "json"}}, "is not JSON"),
    ],
)
def test_data_that_does_not_fit(sums: Any, data: Path, changes: Any, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        load_items(one(sums, **changes), data)
    assert message in str(caught.value)
