"""`llmos tokenizer`: train one for all members, and see what it makes of texts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from llmos.cli.tokenizer import app
from llmos.data.storyworld.stories import write_stories
from llmos.errors import LLMOSError
from llmos.models.tokenizer import tokenizer_from_bytes, tokenizer_to_bytes
from llmos.models.vocabulary import train_joint_tokenizer
from llmos.recipe import Recipe
from llmos.training.disclosed import disclosed_counts
from llmos.training.material import Material

SMALL = ["--set", "tokenizer.vocabulary_size=600"]


def run(*arguments: str | Path) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if isinstance(result.exception, LLMOSError):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture(scope="module")
def stories(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("stories")
    write_stories(folder, 40, ["en", "zh"])
    return {language: folder / f"{language}.jsonl" for language in ("en", "zh")}


@pytest.fixture(scope="module")
def trained(stories: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("out") / "joint.json"
    run("train", "--member", f"zh={stories['zh']}", "--member", f"en={stories['en']}",
        "--out", out, *SMALL)  # fmt: skip
    return out


def test_the_file_is_what_a_joint_run_of_the_recipe_agrees_on(
    stories: dict[str, Path], trained: Path
) -> None:
    recipe = Recipe(name="x").with_values({"tokenizer.vocabulary_size": 600})
    counts = [
        disclosed_counts(Material(path, recipe), recipe.tokenizer)[0] for path in stories.values()
    ]
    assert trained.read_bytes() == tokenizer_to_bytes(train_joint_tokenizer(counts, recipe))


def test_training_says_what_left_each_member_and_how_it_does(
    stories: dict[str, Path], tmp_path: Path
) -> None:
    members = ["--member", f"zh={stories['zh']}", "--member", f"en={stories['en']}"]
    out = ["--out", tmp_path / "t.json", *SMALL, "--set", "tokenizer.temperature=5"]
    shown = run("train", *members, *out)
    lines = shown.splitlines()
    assert lines[0].startswith("en: ") and "stayed" in lines[0] and lines[1].startswith("zh: ")
    assert "600 tokens, byte_bpe, sha256" in lines[2]
    cells = [[cell.strip() for cell in line.split("│")] for line in lines if line.startswith("│")]
    per_word = {row[1]: row[3] for row in cells}
    assert float(per_word["en"]) > 1 and per_word["zh"] == ""


FOLDERS = {
    ("unigram", "t5", "span_corruption"): {"pad": "<pad>", "eos": "</s>", "unk": "<unk>"},
    ("unigram", "gpt2", "causal_lm"): {"eos": "<|endoftext|>", "unk": "<unk>"},
    ("wordpiece", "bert", "masked_lm"): {"cls": "[CLS]", "sep": "[SEP]", "unk": "[UNK]"},
}
PROGRAM = """
import json, sys
sys.modules["llmos"] = None  # importing it would fail
from transformers import AutoTokenizer
for folder, names in json.loads(sys.argv[1]):
    t = AutoTokenizer.from_pretrained(folder)
    ids = t("Ben found a map.")["input_ids"]
    special = {name: getattr(t, name + "_token") for name in names}
    text = t.decode(ids, skip_special_tokens=True)
    print(json.dumps([len(t), special, t.convert_ids_to_tokens(ids), text]))
"""


@pytest.mark.slow
def test_folders_load_without_llmos(stories: dict[str, Path], tmp_path: Path) -> None:
    wanted = []
    for (algorithm, family, objective), special in FOLDERS.items():
        values = {"model.family": family, "objective.name": objective}
        values |= {"tokenizer.algorithm": algorithm, "tokenizer.vocabulary_size": "420"}
        sets = [part for key, value in values.items() for part in ("--set", f"{key}={value}")]
        run("train", stories["en"], "--out", tmp_path / family, *sets)
        wanted.append([str(tmp_path / family), list(special)])
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    finished = subprocess.run(
        [sys.executable, "-c", PROGRAM, json.dumps(wanted)],
        env={**environment, "HF_HUB_OFFLINE": "1", "PYTHONIOENCODING": "utf-8"},
        capture_output=True,
        check=True,
    )
    lines = finished.stdout.decode().splitlines()
    for (algorithm, family, _), line in zip(FOLDERS, lines, strict=True):
        size, special, tokens, decoded = json.loads(line)
        assert (size, special) == (420, FOLDERS[algorithm, family, _])
        if algorithm == "wordpiece":
            assert (tokens[0], tokens[-1]) == ("[CLS]", "[SEP]") and "##" in "".join(tokens)
            assert decoded == "Ben found a map ."  # white space is lost
        else:
            assert decoded == "Ben found a map." and any(t.startswith("▁") for t in tokens)
            assert (tokens[-1] == "</s>") == (family == "t5")


def test_a_report_as_json_adds_up(stories: dict[str, Path], trained: Path) -> None:
    told = json.loads(run("report", trained, f"en={stories['en']}", stories["zh"], "--json"))
    tokenizer = tokenizer_from_bytes(trained.read_bytes())
    texts = [json.loads(line)["text"] for line in stories["en"].read_text().splitlines()]
    english = told["texts"]["en"]
    assert english["tokens"] == sum(len(tokenizer.encode(text).ids) for text in texts)
    assert english["bytes"] == sum(len(text.encode()) for text in texts)
    assert english["words"] == sum(len(text.split()) for text in texts)
    assert told["texts"]["zh.jsonl"]["tokens_per_word"] is None
    assert told["vocabulary_size"] == 600 and "premiums" not in told


def test_parallel_texts_are_compared(stories: dict[str, Path], trained: Path) -> None:
    texts = [f"{name}={path}" for name, path in stories.items()]
    told = json.loads(run("report", trained, *texts, "--parallel", "--json"))
    tokens = {name: figures["tokens"] for name, figures in told["texts"].items()}
    assert told["reference"] == "en" and told["premiums"]["en"] == 1
    assert told["premiums"]["zh"] == tokens["zh"] / tokens["en"]
    assert told["gap"] == max(tokens.values()) / min(tokens.values())
    shown = run("report", trained.parent / "joint.json", *texts, "--parallel")
    assert f"{told['gap']:.2f} times the tokens" in shown


def test_noise_is_other_noise_every_time_and_its_report_keeps_the_secret(
    stories: dict[str, Path],
) -> None:
    recipe = Recipe(name="x").with_values(
        {
            "tokenizer.noise_epsilon": 90.0,
            "tokenizer.noise_delta": 0.1,
            "tokenizer.noise_pieces": 90,
        }
    )
    material = Material(stories["en"], recipe)
    first, told = disclosed_counts(material, recipe.tokenizer)
    second, _ = disclosed_counts(material, recipe.tokenizer)
    assert first != second
    assert told.to_json().keys() == {"threshold", "pieces", "long_pieces", "minimum"}
    assert told.pieces == len(first) and min(first.values()) >= told.threshold >= 5
    assert "noisy count below" in str(told)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--out", "new.json"], "give either TEXT"),
        (["a", "--member", "b=c", "--out", "new.json"], "give either TEXT"),
        (["a", "--out", "taken.json"], "taken.json exists"),
        (["a", "--out", "full"], "full exists"),
        (["a", "--out", "new", "--recipe", "r.toml", "--set", "seed=1"], "--set changes no recipe"),
        (["a", "--out", "new", "--set", "model.base=x"], "has its own tokenizer"),
        (["a", "--out", "new", "--set", "tokenizer.algorithm=wordpiece"], "loses white space"),
        (["missing", "--out", "new"], "missing does not exist"),
    ],
)
def test_mistakes_are_told_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("taken.json").write_text("{}")
    Path("full").mkdir()
    Path("full", "file").touch()
    with pytest.raises(LLMOSError, match=message) as caught:
        run("train", *arguments)
    assert "\n" not in str(caught.value)
    assert sorted(path.name for path in Path().iterdir()) == ["full", "taken.json"]


def test_a_report_needs_a_tokenizer(tmp_path: Path) -> None:
    with pytest.raises(LLMOSError, match=r"none cannot be read"):
        run("report", tmp_path / "none", tmp_path)
