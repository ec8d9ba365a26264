"""The commands made from the tasks, with a small model whose weights are random."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import typer
from typer.testing import CliRunner

from llmos.cli.chat import chat
from llmos.cli.storyworld import app as storyworld
from llmos.cli.tasks import MODEL, mount
from llmos.errors import LLMOSError, UsageError
from llmos.models.families import build_model
from llmos.models.pieces import count_pieces
from llmos.models.publish import write_model_folder
from llmos.models.vocabulary import Vocabulary, train_tokenizer
from llmos.recipe import Recipe
from llmos.tasks import COMMANDS, TASKS
from llmos.tasks.calls import call

APP = typer.Typer(rich_markup_mode=None)
mount(APP)
APP.command("chat")(chat)
FEW = ("--max-new-tokens", "6")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    recipe = Recipe(name="t").with_values(
        {
            "model.family": "llama",
            "model.num_layers": 1,
            "model.num_heads": 2,
            "model.hidden_size": 16,
            "model.context_length": 400,
            "tokenizer.vocabulary_size": 264,
            "tokenizer.threshold": 0,
            "objective.name": "instruction",
        }
    )
    words = Vocabulary.of(train_tokenizer(count_pieces(["a tree, a tree"] * 2), recipe))
    folder = tmp_path_factory.mktemp("model")
    write_model_folder(folder, build_model(recipe.model, words, seed=1), words, 400)
    return folder


def llmos(*arguments: str, given: str | bytes | None = None) -> tuple[str, str]:
    result = CliRunner().invoke(APP, list(arguments), input=given)
    if isinstance(result.exception, LLMOSError):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.stdout, result.stderr


def test_a_text_from_argument_stdin_and_file(model: Path, tmp_path: Path) -> None:
    wanted = call(TASKS["translation"], model, "a tree", to="fr", decoding={"max_new_tokens": 6})
    arguments = ("translate", "--to", "fr", "--model", str(model), *FEW)
    assert llmos(*arguments, "a tree")[0].strip() == wanted.text
    assert llmos(*arguments, given="a tree")[0].strip() == wanted.text
    assert llmos(*arguments, "-", given="a tree")[0].strip() == wanted.text
    file = tmp_path / "text.txt"
    file.write_text("a tree", encoding="utf-8")
    out, notes = llmos(*arguments, "--file", str(file))
    assert out.strip() == wanted.text
    assert ("cut at the limit" in notes) == (wanted.finish == "length")


def test_json_and_lines(model: Path) -> None:
    out, _ = llmos(
        "translate",
        "--to=fr",
        "-m",
        str(model),
        *FEW,
        "--each-line",
        "--json",
        given="a\n\na tree\n",
    )
    found = [json.loads(line) for line in out.splitlines()]
    wanted = call(
        TASKS["translation"], model, ["a", "a tree"], to="fr", decoding={"max_new_tokens": 6}
    )
    assert found == [one.to_json() for one in wanted]


def test_a_question_about_a_file(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(MODEL, str(model))
    file = tmp_path / "context.txt"
    file.write_text("A tree. " * 100, encoding="utf-8")
    (line,) = llmos("ask", "What?", "--context", str(file), "--json", *FEW)[0].splitlines()
    found = json.loads(line)
    assert found["windows"] > 1 and set(found["values"]) == {"answer", "span", "score", "no_answer"}


@pytest.mark.parametrize("name", sorted(set(COMMANDS) - {"chat", "ask", "translate"}))
def test_the_others(model: Path, name: str) -> None:
    out, _ = llmos(name, "a tree", "-m", str(model), "--json", "--seed", "3", *FEW)
    assert json.loads(out)["how"] == "chat"


def test_a_conversation_keeps_its_turns(model: Path) -> None:
    arguments = ("chat", "--model", str(model), "--system", "Be kind.", *FEW)
    turns = json.loads(llmos(*arguments, "--json", given="a\na tree\n\nnever read\n")[0])
    assert [turn["role"] for turn in turns] == ["system", *["user", "assistant"] * 2]
    history = json.dumps(turns[:3])
    wanted = call(
        TASKS["dialogue"], model, "a tree", history=history, decoding={"max_new_tokens": 6}
    )
    assert turns[4]["content"] == wanted.text
    assert llmos(*arguments, "a")[0].strip() == turns[2]["content"]


def test_a_chat_says_that_its_answer_was_cut(model: Path) -> None:
    assert "cut at the limit" in llmos("chat", "--model", str(model), *FEW, "a")[1]


@pytest.mark.parametrize("name", sorted(set(COMMANDS) - {"chat"}))
def test_help_shows_the_example(name: str) -> None:
    out, _ = llmos(name, "--help")
    task = COMMANDS[name]
    assert task.about in out and f"llmos {name}" in out
    assert task.example.output.split()[0] in out


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        (["translate", "x", "--to", "fr"], "no model"),
        (["translate", "x", "--model", "."], "translation lacks 'to' "),
        (["summarize", "x", "--file", "y"], "leave one of them out"),
        (["summarize", "--file", "no such file"], "cannot be read"),
        (["summarize", " "], "text is empty"),
        (["translate", "x", "--to", " "], "to is empty"),
        (["summarize", "x", "--model", "no such folder"], "holds no model"),
        (["classify", "x", "--labels", "one", "--model", "."], "holds no model"),
    ],
)
def test_mistakes(arguments: list[str], match: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(MODEL, raising=False)
    with pytest.raises(LLMOSError, match=match):
        llmos(*arguments)


def test_texts_in_other_encodings_are_refused(model: Path, tmp_path: Path) -> None:
    file = tmp_path / "latin.txt"
    file.write_bytes("café".encode("latin-1"))
    for arguments, given, match in (
        (["summarize"], file.read_bytes(), "standard input is not UTF-8"),
        (["summarize", "--file", str(file)], None, "latin.txt is not UTF-8"),
        (["summarize", "caf\udce9"], None, "summarization's text is not UTF-8"),
        (["chat"], file.read_bytes(), "standard input is not UTF-8"),
    ):
        with pytest.raises(UsageError, match=match):
            llmos(*arguments, "--model", str(model), given=given)


def test_a_mark_of_utf_8_is_no_part_of_the_text(model: Path, tmp_path: Path) -> None:
    file = tmp_path / "marked.txt"
    file.write_bytes(b"\xef\xbb\xbfa tree")
    arguments = ("translate", "--to", "fr", "--model", str(model), *FEW)
    plain = llmos(*arguments, "a tree")
    assert llmos(*arguments, "--file", str(file)) == plain
    assert llmos(*arguments, given=file.read_bytes()) == plain


def test_a_label_that_the_model_did_not_write_is_told(model: Path) -> None:
    arguments = ("classify", "a tree", "--model", str(model), *FEW)
    said, told = llmos(*arguments)
    assert said == "\n" and told.startswith("none of the labels; the model wrote: ")
    (found,) = [json.loads(line) for line in llmos(*arguments, "--json")[0].splitlines()]
    assert found["values"]["written"] in told


def test_records_of_the_stories(tmp_path: Path) -> None:
    folder = str(tmp_path / "records")
    result = CliRunner().invoke(storyworld, ["tasks", folder, "--stories", "2", "--langs", "en,fr"])
    assert result.exit_code == 0
    names = [line.split()[0].rsplit("/")[-1] for line in result.output.splitlines()]
    assert names == ["en.jsonl", "fr.jsonl", "card.json"]
