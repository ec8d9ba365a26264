"""Labels from heads, likelihoods and words; code and nothing else; what a folder says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from llmos.errors import ModelError, UsageError
from llmos.tasks import TASKS
from llmos.tasks.coding import only_code
from llmos.tasks.conventions import conventions_of
from llmos.tasks.running import run
from llmos.tasks.turns import read_turns

SENTIMENT = TASKS["sentiment"]


def test_labels_of_a_head_over_the_parts_of_a_long_text(scripted: Any) -> None:
    engine = scripted(kind="encoder", labels=("bad", "fine"), context_length=20)
    short, long = run(
        SENTIMENT, engine, [{"text": "so good"}, {"text": "so good. " + "Nothing is fine. " * 9}]
    )
    assert short.text == "fine" and short.how == "head" and short.windows == 1
    assert short.values["probabilities"] == pytest.approx({"bad": 0.1, "fine": 0.9})
    assert long.text == "bad" and long.windows > 1
    with pytest.raises(UsageError, match="leave --labels out"):
        run(SENTIMENT, engine, [{"text": "x", "labels": "up, down"}])


def test_labels_by_likelihood(scripted: Any) -> None:
    engine = scripted(lambda asked: "neutral", can_chat=False)
    (result,) = run(SENTIMENT, engine, [{"text": "It is a chair."}])
    assert result.how == "prompt" and result.text == "neutral"
    # exp(0) and twice exp(-2)
    assert result.values["probabilities"]["neutral"] == pytest.approx(0.7869860)
    assert sum(result.values["probabilities"].values()) == pytest.approx(1)


def test_labels_that_a_chat_writes(scripted: Any) -> None:
    engine = scripted(lambda asked: "这是负面的。")
    (result,) = run(SENTIMENT, engine, [{"text": "房间很脏，服务也很差。"}])
    assert result.text == "negative"  # as the metrics know it
    assert result.values["probabilities"] == {"negative": pytest.approx(0.36787944)}
    engine = scripted(lambda asked: "bittersweet, not sweet")
    (result,) = run(SENTIMENT, engine, [{"text": "x", "labels": "sweet, bittersweet"}])
    assert result.text == "bittersweet"
    (result,) = run(SENTIMENT, scripted(lambda asked: "?"), [{"text": "x"}])
    assert result.text == "" and result.values["probabilities"] == {}
    with pytest.raises(UsageError, match="two or more"):
        run(SENTIMENT, scripted(), [{"text": "x", "labels": "one"}])


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ("x = 1\n", "x = 1"),
        ("Here:\n```python\nx = 1\n```\nDone.", "x = 1"),
        ("```\na\n```\nand\n~~~js\nb\n~~~\n", "a\n\nb"),
        ("```python\ndef f():\n    return '```'\n```", "def f():\n    return '```'"),
        ("````\n```\n````", "```"),
        ("```py\ncut off", "cut off"),
        ("    indented\n", "    indented"),
    ],
)
def test_only_code(said: str, code: str) -> None:
    assert only_code(said, {"language": "Python"})[0] == code


def test_a_folder_says_how_its_model_is_asked(scripted: Any, tmp_path: Path) -> None:
    engine = scripted(kind="encoder-decoder", folder=tmp_path)
    inputs = [{"text": "A cat.", "to": "zh"}]
    (result,) = run(TASKS["translation"], engine, inputs)
    assert result.text == "translate English to Chinese: A cat."
    (tmp_path / "recipe.toml").write_text(
        'version = 1\nname = "t"\n[model]\nfamily = "t5"\n[objective]\nname = "seq2seq"\n'
    )
    (result,) = run(TASKS["translation"], engine, inputs)
    assert result.text == "A cat."
    (tmp_path / "llmos.json").write_text('{"tasks": {"translation": "<{to}> {text}"}}')
    (result,) = run(TASKS["translation"], engine, inputs)
    assert result.text == "<zh> A cat."


@pytest.mark.parametrize("content", ["[]", "{", '{"tasks": {"translation": 3}}', '{"tasks": 3}'])
def test_a_folder_that_is_not_in_order(scripted: Any, tmp_path: Path, content: str) -> None:
    (tmp_path / "llmos.json").write_text(content)
    with pytest.raises(ModelError, match=r"llmos\.json"):
        conventions_of(scripted(folder=tmp_path))


def test_words_with_a_place_that_is_none(scripted: Any, tmp_path: Path) -> None:
    (tmp_path / "llmos.json").write_text('{"tasks": {"translation": "{txt}"}}')
    with pytest.raises(ModelError, match="which this task has not"):
        run(TASKS["translation"], scripted(folder=tmp_path), [{"text": "A cat.", "to": "zh"}])


@pytest.mark.parametrize("text", ["{", "{}", '[{"role": "x", "content": ""}]', "[1]"])
def test_a_history_that_is_none(text: str) -> None:
    with pytest.raises(UsageError, match="history"):
        read_turns(text)
