"""`llmos data pack`, then `llmos train` on what it wrote."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from llmos.cli.data_pack import pack
from llmos.errors import LLMOSError, UsageError
from llmos.models.pieces import count_pieces
from llmos.models.tokenizer import tokenizer_to_bytes
from llmos.models.vocabulary import train_tokenizer
from llmos.recipe import Recipe
from llmos.training.alone import start_alone

app = typer.Typer()
app.command()(pack)
SETTINGS = {
    "model.num_layers": 1,
    "model.num_heads": 2,
    "model.hidden_size": 16,
    "model.context_length": 32,
    "tokenizer.vocabulary_size": 300,
    "training.sequence_length": 32,
    "training.batch_size": 2,
    "training.steps": 2,
    "training.threads": 1,
    "training.precision": "fp32",
}
RECIPE = Recipe(name="pack").with_values(SETTINGS)


def run(*arguments: str | Path) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if isinstance(result.exception, LLMOSError):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "prepared"
    (folder / "documents").mkdir(parents=True)
    lines = [
        json.dumps({"text": f"The lantern number {n} hangs in the harbour. " * 3}) + "\n"
        for n in range(60)
    ]
    (folder / "documents/00000.jsonl.gz").write_bytes(gzip.compress("".join(lines).encode()))
    counts = count_pieces(json.loads(line)["text"] for line in lines)
    (tmp_path / "tokenizer.json").write_bytes(tokenizer_to_bytes(train_tokenizer(counts, RECIPE)))
    return folder


def test_text_is_packed_and_a_run_trains_on_it(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "shards"
    told = run(source, "--tokenizer", tmp_path / "tokenizer.json", "--out", out)
    assert "tokens of" in told and "held out for test" in told
    assert f"llmos train RECIPE --data {out} --out RUN" in told
    assert (
        run(source, "--tokenizer", tmp_path, "--out", out).split("\n")[1:] == told.split("\n")[1:]
    )
    start_alone(RECIPE, out, tmp_path / "run")
    # A model's folder holds its tokenizer, and a recipe with that base needs no other.
    recipe = RECIPE.with_values({"model.base": str(tmp_path / "run/model"), "seed": 5})
    (tmp_path / "recipe.toml").write_text(recipe.to_toml())
    run(source, "--recipe", tmp_path / "recipe.toml", "--out", tmp_path / "further")
    start_alone(recipe, tmp_path / "further", tmp_path / "on")
    assert (tmp_path / "on/model/model.safetensors").is_file()


def test_mistakes_are_told_in_one_line(source: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no tokenizer: add --tokenizer FILE"):
        run(source, "--out", tmp_path / "shards")
    with pytest.raises(UsageError, match=r"none.json cannot be read"):
        run(source, "--tokenizer", tmp_path / "none.json", "--out", tmp_path / "shards")
    assert not (tmp_path / "shards").exists()
