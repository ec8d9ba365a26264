"""lm-evaluation-harness with our engines gives what it gives with its own, from local files."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from llmos.errors import UsageError
from llmos.evaluation.adding import add_results
from llmos.evaluation.comparing import compare_results
from llmos.models.engines.engine import UnsupportedError

pytest.importorskip("lm_eval")
pytestmark = pytest.mark.slow  # it takes seconds to import

CHOICE = """
task: own_choice
dataset_path: json
dataset_kwargs: {{data_files: {{test: {data}}}, cache_dir: {cache}}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{{{q}}}}"
doc_to_choice: "{{{{choices}}}}"
doc_to_target: 0
metric_list: [{{metric: acc}}, {{metric: acc_norm}}]
"""
WRITE = """
task: own_write
dataset_path: json
dataset_kwargs: {{data_files: {{test: {data}}}, cache_dir: {cache}}}
test_split: test
output_type: generate_until
doc_to_text: "{{{{q}}}}"
doc_to_target: "{{{{choices[0]}}}}"
generation_kwargs: {{until: ["."], max_gen_toks: 5}}
metric_list: [{{metric: exact_match}}, {{metric: bleu}}]
"""
ROLL = """
task: own_roll
dataset_path: json
dataset_kwargs: {{data_files: {{test: {data}}}, cache_dir: {cache}}}
test_split: test
output_type: loglikelihood_rolling
doc_to_text: ""
doc_to_target: "{{{{q}}}}"
metric_list: [{{metric: bits_per_byte}}]
"""


@pytest.fixture
def tasks(tmp_path: Path) -> Path:
    folder = tmp_path / "tasks"
    folder.mkdir()
    questions = [f"where is the {thing} of number {n}?" for n in range(4) for thing in "abc"]
    lines = [
        json.dumps({"q": q, "choices": ["by the tree", "in the old house", f"no {q[-2]}"]})
        for q in questions
    ]
    data = tmp_path / "test.jsonl"
    data.write_text("\n".join(lines))
    for name, text in (("choice", CHOICE), ("write", WRITE), ("roll", ROLL)):
        (folder / f"{name}.yaml").write_text(text.format(data=data, cache=tmp_path / "cache"))
    return folder


def figures(result: Any) -> dict[str, float]:
    return {
        f"{part['name']} {one['key']}": one["value"]
        for part in result.benchmarks
        for one in part["scores"]
    }


def test_figures_become_a_signed_result(
    tasks: Path, tmp_path: Path, key: Any, answering: Any
) -> None:
    from llmos.evaluation.harness import run_harness

    def run(engine: Any, *names: str) -> Any:
        subject = {"name": "m", "kind": "url", "sha256": "", "links": {}}
        return run_harness(
            engine, subject, folder=tasks, tasks=names, out=tmp_path / "r.json", key=key
        )

    engine = answering(
        reply=lambda text: "by the tree", logprob=lambda c, t: -1.0 * len(t.split()), kind="decoder"
    )
    result = run(engine)
    found = figures(result)
    assert found["own_choice acc,none"] == 0.0  # "no ?" has the fewest words
    assert found["own_write exact_match,none"] == 1.0
    (bleu,) = (one for one in result.benchmarks[2]["scores"] if one["key"] == "bleu,none")
    assert bleu["interval"] == "normal 0.95, lm-eval's standard error"  # no mean of items
    assert bleu["sums"] == []
    words = 7 * 12
    size = sum(len(f"where is the {t} of number {n}?") for n in range(4) for t in "abc")
    assert found["own_roll bits_per_byte,none"] == pytest.approx(words / 0.6931472 / size)
    choice = result.benchmarks[0]
    assert choice["scores"][0]["interval"].startswith("Wilson")
    assert choice["scores"][0]["n"] == 12
    assert set(found) == set(figures(run(engine, "own_choice", "own_write", "own_roll")))
    path = Path(result.name)
    assert all(one.difference.p == 1 for one in compare_results(path, path))
    half = {**result.benchmarks[0], "data_sha256": "other"}
    members = [
        replace(result, body={**result.body, "benchmarks": [part]})
        for part in (result.benchmarks[0], half)
    ]
    joint = add_results(members)["benchmarks"][0]
    assert joint["n"] == 24
    assert {one["key"]: one["value"] for one in joint["scores"]} == {
        key.split()[1]: value for key, value in found.items() if key.startswith("own_choice")
    }
    with pytest.raises(UsageError, match=r"has no task 'other': it has own_choice"):
        run(engine, "other")
    with pytest.raises(UnsupportedError):
        run(answering(), "own_choice")


def test_it_is_what_lm_eval_gives_with_its_own_model(tasks: Path, tmp_path: Path, key: Any) -> None:
    from lm_eval import simple_evaluate
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from llmos.evaluation.harness import run_harness
    from llmos.models.engines.local import LocalEngine
    from llmos.models.families import build_model
    from llmos.models.pieces import count_pieces
    from llmos.models.publish import write_model_folder
    from llmos.models.vocabulary import Vocabulary, train_tokenizer
    from llmos.recipe import Recipe

    values = {
        "model.num_layers": 2, "model.num_heads": 2, "model.hidden_size": 32,
        "model.context_length": 64, "tokenizer.vocabulary_size": 280, "tokenizer.threshold": 0,
        "training.sequence_length": 64,
    }  # fmt: skip
    recipe = Recipe(name="t").with_values(values)
    text = "where is the old house by the tree of number no in"
    words = Vocabulary.of(train_tokenizer(count_pieces([text] * 3), recipe))
    folder = tmp_path / "model"
    model = build_model(recipe.model, words, seed=1, head="causal_lm")
    for parameter in model.parameters():
        parameter.data.mul_(3)
    write_model_folder(folder, model, words, 64)

    theirs = HFLM(
        pretrained=AutoModelForCausalLM.from_pretrained(folder),
        tokenizer=AutoTokenizer.from_pretrained(folder),
        batch_size=4,
        device="cpu",
    )
    names = ["own_choice", "own_roll"]
    manager = TaskManager(include_path=str(tasks), include_defaults=False)
    wanted: Any = simple_evaluate(theirs, tasks=names, task_manager=manager, bootstrap_iters=0)
    subject = {"name": "m", "kind": "folder", "sha256": "x", "links": {}}
    found = figures(
        run_harness(
            LocalEngine(folder), subject, folder=tasks, tasks=names, out=tmp_path / "r", key=key
        )
    )
    for metric in ("acc,none", "acc_norm,none"):
        expected = wanted["results"]["own_choice"][metric]
        assert found[f"own_choice {metric}"] == pytest.approx(expected)
    expected = wanted["results"]["own_roll"]["bits_per_byte,none"]
    assert found["own_roll bits_per_byte,none"] == pytest.approx(expected, rel=1e-3)
