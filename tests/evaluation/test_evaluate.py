"""From a suite and a model to a signed result; on after a break; added up; compared."""

from __future__ import annotations

import json
import math
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from llmos.errors import ModelError, SignatureError, StorageError, UsageError
from llmos.evaluation import evaluate as module
from llmos.evaluation.adding import add_results
from llmos.evaluation.asking import CONTEXT_CHARACTERS, named_first, pairs_of
from llmos.evaluation.comparing import compare_results, holm
from llmos.evaluation.evaluate import Evaluated, evaluate
from llmos.evaluation.predictions import ROWS, alone_in, items_folder, read_rows
from llmos.evaluation.subject import described, located, model_sha256
from llmos.evaluation.suites import suite
from llmos.metrics.difference import compare
from llmos.metrics.names import metric
from llmos.metrics.score import score
from llmos.models.engines.engine import UnsupportedError
from llmos.provenance.results import read_result, write_result

URL = "https://example.org/v1"


def right(context: str, continuation: str) -> float:
    """Sure of the numbers in an answer; of two, of the smaller one."""
    return -float(continuation) if continuation.strip().isdigit() else -1000.0


@pytest.fixture
def measure(sums: Any, data: Path, key: Any, tmp_path: Path, answering: Any) -> Any:
    def run(out: str = "r.json", engine: Any = None, values: Any = sums, **more: Any) -> Evaluated:
        engine = engine or answering(reply=lambda text: "It is 3, no: 4.", logprob=right)
        options = {"data": data, "out": tmp_path / out, "key": key, "engine": engine, **more}
        model = options.pop("model", URL)
        engine.name = model
        return evaluate(suite(values), model, **options)

    return run


def scores(result: Any) -> dict[str, float]:
    return {
        f"{part['name']} {one['key']}": one["value"]
        for part in result.benchmarks
        for one in part["scores"]
    }


def test_a_result_says_what_was_measured(measure: Any, tmp_path: Path) -> None:
    done = measure()
    result = read_result(tmp_path / "r.json")
    assert result == done.result
    assert scores(result) == {"choose accuracy": 1.0, "say accuracy": 0.25, "say f1": 0.25}
    choose, say = result.benchmarks
    assert (choose["how"], say["how"]) == ("likelihood", "prompt")
    assert choose["n"] == 4
    assert (choose["scores"][0]["low"], choose["scores"][0]["high"]) == pytest.approx(
        (0.5101, 1.0), abs=1e-4
    )  # Wilson's interval of 4 of 4
    assert not result.is_measured
    assert "What is" not in json.dumps(result.body["benchmarks"][0]["scores"])


def test_the_same_evaluation_gives_the_same_bytes(measure: Any, tmp_path: Path) -> None:
    measure()
    measure("s.json")
    assert (tmp_path / "r.json").read_bytes() == (tmp_path / "s.json").read_bytes()


def test_without_likelihoods_the_choice_is_written_and_it_says_so(
    measure: Any, answering: Any
) -> None:
    engine = answering(reply=lambda text: "3" if "1 plus 2" in text else "no idea!")
    (choose, _) = measure(engine=engine).result.benchmarks
    assert choose["how"] == "prompt: no log-probabilities"
    assert choose["scores"][0]["value"] == 0.25
    engine = answering(reply=lambda text: "3", can_prompt=False)
    choose, say = measure("t.json", engine=engine).result.benchmarks
    assert (choose["how"], say["how"]) == ("chat: no log-probabilities", "chat")


def test_a_broken_evaluation_goes_on(
    measure: Any, answering: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(module, "AT_ONCE", 2)

    def breaks(text: str) -> str:
        if "10 plus" in text:
            raise KeyboardInterrupt
        return "4"

    with pytest.raises(KeyboardInterrupt):
        measure(engine=answering(reply=breaks, logprob=right))
    again = answering(reply=lambda text: "4", logprob=right)
    whole = measure(engine=again).result
    assert len(again.asked) == 2
    assert "10 plus 5" in again.asked[0]
    torn = items_folder(tmp_path / "r.json") / "say.jsonl"
    torn.write_bytes(torn.read_bytes()[:-5])
    last = answering(reply=lambda text: "4", logprob=right)
    assert measure(engine=last).result == whole
    assert len(last.asked) == 1
    other = answering(reply=lambda text: "5", logprob=right)
    measure(engine=other, model=f"{URL}/other")
    assert len(other.asked) == 4, "another model's answers do not count"


def test_what_the_model_cannot_do_is_left_out_and_said(
    measure: Any, sums: Any, answering: Any, data: Path
) -> None:
    (data / "t.txt").write_text("Some words.\n")
    text = {
        "name": "text", "task": "perplexity", "inputs": {"text": "{text}"},
        "data": {"path": "t.txt", "format": "text"},
    }  # fmt: skip
    values = {**sums, "benchmarks": [*sums["benchmarks"], text]}
    done = measure(values=values, engine=answering(reply=lambda text: "4"))
    assert done.left_out == {"text": "no log-probabilities"}
    assert done.result.body["settings"]["left_out"] == done.left_out
    with pytest.raises(UsageError, match="can do no benchmark of sums"):
        measure("u.json", values={**sums, "benchmarks": [text]}, engine=answering())


def test_no_path_gets_into_a_result(measure: Any, answering: Any, tmp_path: Path) -> None:
    folder = tmp_path / "secret" / "model"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")

    class Local(answering):  # type: ignore[misc]
        def likelihoods(self, pairs: Any) -> Any:
            raise UnsupportedError(f"{self.folder} gives no likelihood")

    engine = Local(reply=lambda text: "4", folder=folder, name=str(folder))
    result = measure(engine=engine, model=str(folder)).result
    assert result.benchmarks[0]["how"] == "prompt: secret gives no likelihood"
    assert str(tmp_path) not in json.dumps(result.body)


def test_a_limit_is_said(measure: Any) -> None:
    result = measure(limit=2).result
    assert result.body["settings"]["limit"] == 2
    assert [part["n"] for part in result.benchmarks] == [2, 2]


def test_tasks_are_asked_as_tasks(measure: Any, answering: Any, data: Path) -> None:
    (data / "t.csv").write_text("en,de\nthe tree,der Baum\nthe house,das Haus\n")
    values = {
        "name": "translate",
        "benchmarks": [
            {
                "name": "en-de",
                "task": "translation",
                "data": {"path": "t.csv", "format": "csv"},
                "inputs": {"text": "{en}", "to": "de"},
                "references": "{de}",
                "metrics": ["chrf"],
            }
        ],
    }
    engine = answering(reply=lambda text: "der Baum", context_length=1000)
    (part,) = measure(values=values, engine=engine).result.benchmarks
    wanted = score(metric("chrf"), ["der Baum"] * 2, [["der Baum"], ["das Haus"]])
    assert part["how"] == "chat"
    assert part["scores"][0]["value"] == pytest.approx(wanted.value)
    assert part["scores"][0]["low"] == pytest.approx(wanted.low)


def test_programs_are_run(measure: Any, answering: Any, data: Path) -> None:
    (data / "p.jsonl").write_text(
        '{"prompt": "def f(x):\\n", "test": "assert f(2) == 4"}\n'
        '{"prompt": "def g(x):\\n", "test": "assert g(2) == 5"}\n'
    )
    values = {
        "name": "programs",
        "benchmarks": [
            {
                "name": "p",
                "task": "programs",
                "data": {"path": "p.jsonl", "format": "jsonl"},
                "inputs": {"prompt": "{prompt}"},
                "program": "{prompt}{prediction}\n{test}\n",
            }
        ],
    }
    engine = answering(reply=lambda text: "    return 2 * x\n")
    (part,) = measure(values=values, engine=engine).result.benchmarks
    assert part["scores"][0]["key"] == "pass@1"
    assert part["scores"][0]["value"] == 0.5
    assert part["scores"][0]["interval"] == "Wilson 0.95"
    values["benchmarks"][0]["samples"] = 2
    with pytest.raises(UsageError, match="2 samples at temperature 0 are all alike"):
        measure("q.json", values=values, engine=engine)


def test_members_results_add_up_to_that_of_all(
    measure: Any, sums: Any, data: Path, key: Any, tmp_path: Path
) -> None:
    whole = measure("whole.json").result
    lines = (data / "questions.jsonl").read_text().splitlines(keepends=True)
    for name, some in (("a", lines[:1]), ("b", lines[1:])):
        (data / "questions.jsonl").write_text("".join(some))
        measure(f"{name}.json")
    members = [read_result(tmp_path / f"{name}.json") for name in "ab"]
    joint = write_result(tmp_path / "joint.json", add_results(members), key)
    assert scores(joint) == pytest.approx(scores(whole))
    assert [part["n"] for part in joint.benchmarks] == [4, 4]
    assert joint.body["of"] == [{"sha256": m.sha256, "signer": m.signer} for m in members]
    assert joint.body["settings"] == {"limit": 0}
    first, of_whole = joint.benchmarks[0]["scores"][0], whole.benchmarks[0]["scores"][0]
    assert (first["low"], first["high"]) == (of_whole["low"], of_whole["high"])
    for wrong, message in (
        (members[:1], "1 result cannot be added"),
        ([members[0], members[0]], "of the same items"),
    ):
        with pytest.raises(UsageError, match=message):
            add_results(wrong)
    other = measure("c.json", model=f"{URL}/other").result
    with pytest.raises(UsageError, match="of another model than"):
        add_results([members[0], other])


def test_two_models_are_compared_item_by_item(measure: Any, answering: Any, tmp_path: Path) -> None:
    measure("a.json")
    wrong = answering(reply=lambda text: "3", logprob=lambda c, t: -right(c, t))
    measure("b.json", engine=wrong)
    found = compare_results(tmp_path / "a.json", tmp_path / "b.json")
    by = {(one.benchmark, one.metric): one for one in found}
    said = by["say", "accuracy"].difference
    references = [["3"], ["4"], ["15"], ["8"]]
    assert said == compare(metric("accuracy"), ["4"] * 4, ["3"] * 4, references)
    assert by["choose", "accuracy"].difference.value == 1.0
    assert [one.better for one in found] == ["", "", ""], "four items establish nothing"
    file = items_folder(tmp_path / "b.json") / ROWS
    file.write_bytes((items_folder(tmp_path / "a.json") / ROWS).read_bytes())
    with pytest.raises(SignatureError, match="not those that were signed"):
        compare_results(tmp_path / "a.json", tmp_path / "b.json")
    file.unlink()
    with pytest.raises(UsageError, match="only those can do who have the items"):
        compare_results(tmp_path / "a.json", tmp_path / "b.json")


def test_what_was_not_measured_alike_is_not_compared(
    measure: Any, data: Path, tmp_path: Path
) -> None:
    measure("a.json")
    lines = (data / "questions.jsonl").read_text().splitlines(keepends=True)
    (data / "questions.jsonl").write_text("".join(lines[:3]))
    measure("b.json")
    with pytest.raises(UsageError, match="no benchmark on the same items"):
        compare_results(tmp_path / "a.json", tmp_path / "b.json")


def test_a_clear_difference_is_established(measure: Any, answering: Any, data: Path) -> None:
    records = [{"q": f"{n}?", "answer": str(n), "wrong": ["x"]} for n in range(60)]
    (data / "questions.jsonl").write_text("".join(json.dumps(r) + "\n" for r in records))
    a = measure("a.json", engine=answering(reply=lambda text: text.split("?")[0], logprob=right))
    b = measure("b.json", engine=answering(reply=lambda text: "7", logprob=right))
    found = compare_results(Path(a.result.name), Path(b.result.name))
    assert {one.benchmark: one.better for one in found} == {"choose": "", "say": "a"}


def test_holm_adjusts_as_its_paper_says() -> None:
    # By hand: 0.01 * 4, 0.02 * 3, 0.03 * 2, 0.9; never below a smaller one's.
    assert holm([0.03, 0.01, 0.9, 0.02]) == pytest.approx([0.06, 0.04, 0.9, 0.06])


def test_a_long_text_is_cut_for_the_window(answering: Any) -> None:
    engine = answering(context_length=8)
    text = " ".join(f"word{n}" for n in range(50)) + "\nend"
    pairs = pairs_of(engine, "before", text)
    assert "".join(continuation for _, continuation in pairs) == text
    assert max(engine.count_tokens(continuation) for _, continuation in pairs) <= 4
    for at, (context, _) in enumerate(pairs):
        whole = "before" + "".join(continuation for _, continuation in pairs[:at])
        assert whole.endswith(context)
        assert len(context) == min(len(whole), CONTEXT_CHARACTERS * 8)


def test_perplexity_is_that_of_the_definition(measure: Any, answering: Any, data: Path) -> None:
    text = "\n".join("some words of a text " * 25 for _ in range(12))
    (data / "t.txt").write_text(text)
    values = {
        "name": "text",
        "benchmarks": [
            {
                "name": "t",
                "task": "perplexity",
                "data": {"path": "t.txt", "format": "text"},
                "inputs": {"text": "{text}", "before": "{before}"},
            }
        ],
    }
    engine = answering(logprob=lambda context, text: -2.0 * len(text.split()))
    result = measure(values=values, engine=engine).result
    found = scores(result)
    assert found["t perplexity"] == pytest.approx(math.exp(2))
    bits = 2 * len(text.split()) / math.log(2) / len(text.strip())
    assert found["t bits_per_byte"] == pytest.approx(bits)
    rows = read_rows(Path(result.name))["t"]["perplexity"]
    assert np.allclose(rows[:, 0], 2 * rows[:, 1])


@pytest.mark.parametrize(
    ("text", "choice"),
    [
        ("I say (B), not (A).", "(B)"),
        ("no", "no"),
        ("nothing", ""),
        ("no idea", "no idea"),
        ("", ""),
        ("答案是可以。", "可以"),
    ],
)
def test_the_choice_named_first(text: str, choice: str) -> None:
    assert named_first(text, ["(A)", "(B)", "no", "no idea", "可以"]) == choice


def test_the_model_is_told_by_what_makes_it(tmp_path: Path) -> None:
    folder = tmp_path / "gpt" / "model"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"weights")
    before = model_sha256(folder)
    hashes = "".join(f"  {name}: {'0a' * 32}\n" for name in ("recipe_sha256", "ledger_head"))
    (folder / "README.md").write_text(f"---\nllmos:\n{hashes}---\n# words\n")
    (folder / "comparison.json").write_text("{}")
    assert model_sha256(folder) == before
    found = described(str(tmp_path / "gpt"), str(tmp_path / "gpt"), ["paper=2401.00001"])
    assert found == {
        "name": "gpt",
        "kind": "folder",
        "sha256": before,
        "links": {"paper": "https://arxiv.org/abs/2401.00001"},
        "recipe_sha256": "0a" * 32,
        "ledger_head": "0a" * 32,
    }
    (folder / "model.safetensors").write_bytes(b"other")
    assert model_sha256(folder) != before
    for link in ("paper=http://x", "code=javascript:alert(1)", "site=https://x", "code"):
        with pytest.raises(UsageError, match="the link"):
            described(URL, URL, [link])
    with pytest.raises(ModelError, match="no folder, no hub id"):
        located("nothing")
    with pytest.raises(ModelError, match="cache of the hub"):
        located("nobody/nothing")


def test_a_service_with_another_model_is_asked_anew(measure: Any, answering: Any) -> None:
    """The name stays the same; what the service says of its model does not."""

    def asked(identity: str, **more: Any) -> int:
        engine = answering(reply=lambda text: "4", logprob=right)
        engine.identity = identity
        done = measure(engine=engine, **more)
        assert sum(done.kept.values()) == (0 if engine.asked else 8)
        return len(engine.asked)

    assert [asked("a"), asked("a"), asked("b"), asked("b")] == [4, 0, 4, 0]
    assert asked("b", anew=True) == 4


def test_a_service_s_answers_of_yesterday_do_not_count(
    measure: Any, answering: Any, tmp_path: Path
) -> None:
    def asked(**more: Any) -> int:
        engine = answering(reply=lambda text: "4", logprob=right)
        measure(engine=engine, **more)
        return len(engine.asked)

    def grow_old(hours: float) -> None:
        for file in items_folder(tmp_path / "r.json").glob("*.jsonl"):
            then = time.time() - hours * 3600
            os.utime(file, (then, then))

    assert asked() == 4
    grow_old(23)
    assert asked() == 0
    grow_old(25)
    assert asked() == 4
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    assert asked(model=str(folder)) == 4
    grow_old(10_000)
    assert asked(model=str(folder)) == 0, "a folder's hash tells whether it is the same"


def test_two_evaluations_do_not_write_to_one_folder(measure: Any, tmp_path: Path) -> None:
    with (
        alone_in(items_folder(tmp_path / "r.json")),
        pytest.raises(StorageError, match="another evaluation is writing to"),
    ):
        measure()
    measure()
