"""`llmos demo` from end to end, with a recipe small enough for a test."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from llmos.cli import demo
from llmos.cli.main import app
from llmos.data.storyworld.checker import pass_rate

TINY = """
version = 1
name = "tiny"
[model]
num_layers = 1
num_heads = 2
hidden_size = 16
context_length = 64
[tokenizer]
vocabulary_size = 400
[training]
batch_size = 2
sequence_length = 64
threads = 1
[rounds]
count = 2
local_steps = 2
[evaluation]
columns = ["alone", "together"]
"""


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(demo, "SAMPLES", 2)
    path = tmp_path / "tiny.toml"
    path.write_text(TINY)
    return path


def test_the_demo_trains_verifies_and_shows_samples(tmp_path: Path, tiny: Path) -> None:
    result = CliRunner().invoke(app, ["demo", "--recipe", str(tiny), "--in", str(tmp_path / "r")])
    assert result.exit_code == 0, result.output
    for text in ("verified: all of the above holds", "English: ", "Chinese: ", "What to try next"):
        assert text in result.output
    out = tmp_path / "r" / "demo"
    comparison = json.loads((out / "comparison.json").read_bytes())
    assert sorted(comparison["columns"]["alone"]) == ["en", "es", "fr", "zh"]
    card = (out / "model" / "README.md").read_text()
    assert "synthetic-data" in card and "CC0-1.0" in card

    again = CliRunner().invoke(app, ["demo", "--recipe", str(tiny), "--in", str(tmp_path / "r")])
    assert again.exit_code == 0, again.output
    assert (tmp_path / "r" / "demo-2" / "model").is_dir()


def test_the_demo_runs_on_the_users_own_folders(tmp_path: Path, tiny: Path) -> None:
    members = []
    for name in ("a", "b"):
        folder = tmp_path / name
        folder.mkdir()
        for number in range(12):
            text = f"{name} {number}: " + "the same few words again and again. " * 12
            (folder / f"{number}.txt").write_text(text)
        members.append(f"{name}={folder}")
    tiny.write_text(TINY.replace("400", "280"))
    command = ["demo", "--recipe", str(tiny), "--in", str(tmp_path / "r")]
    result = CliRunner().invoke(app, [*command, "--members", " ".join(members)])
    assert result.exit_code == 0, result.output
    assert "samples: new documents, unedited" in result.output


def test_the_demo_text_has_no_story_twice_and_is_labelled(tmp_path: Path) -> None:
    paths = demo.write_demo_text(tmp_path)
    texts = [
        json.loads(line)["text"]
        for folder in paths.values()
        for file in sorted(folder.rglob("*.jsonl"))
        for line in file.read_text("utf-8").splitlines()
    ]
    assert len(texts) == len(set(texts)) == 4 * (demo.HOME_STORIES + 3 * demo.OTHER_STORIES)
    for folder in paths.values():
        for card in folder.rglob("card.json"):
            assert json.loads(card.read_bytes())["synthetic"] is True
    english = [t for t in texts if t.isascii()]
    passed, total = pass_rate(english[:20], "en")
    assert passed == total > 0


def test_without_a_recipe_the_demo_says_where_to_run_it(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["demo", "--recipe", str(tmp_path / "none.toml")])
    assert result.exit_code != 0
    assert "LLMOS repository" in str(result.exception)
