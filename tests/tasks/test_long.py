"""Texts longer than the context: cut, worked on in parts, put together, and said so."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmos.tasks import TASKS
from llmos.tasks.pieces import in_parts, windows
from llmos.tasks.running import run, stream
from llmos.tasks.turns import latest, read_turns, write_turns


def count(text: str) -> int:
    return len(re.findall(r"\w+|[^\w\s]", text))


TEXT = st.text(st.sampled_from("ab .!?\n水。，"), max_size=80)


@given(TEXT, st.integers(1, 12))
def test_parts_join_to_the_text_and_fit(text: str, size: int) -> None:
    parts = in_parts(text, size, len)
    assert "".join(parts) == (text if text.strip() else "")
    assert all(len(part) <= size for part in parts)


@given(TEXT, st.integers(4, 20))
def test_windows_hold_what_is_shorter_than_a_part_of_them(text: str, size: int) -> None:
    found = windows(text, size, len)
    assert all(text.startswith(part, at) and len(part) <= size for at, part in found)
    if text.strip():
        covered = set().union(*({*range(at, at + len(part))} for at, part in found))
        assert covered == set(range(len(text)))
        for first, second in pairwise(found):
            assert second[0] < first[0] + len(first[1])  # they overlap


def test_a_long_translation_keeps_order_and_paragraphs(scripted: Any) -> None:
    text = "One two three. Four five six.\n\nSeven eight nine. Ten eleven."
    engine = scripted(lambda asked: asked.partition("\n")[2].upper(), context_length=40)
    (result,) = run(TASKS["translation"], engine, [{"text": text, "to": "fr", "from": "en"}])
    assert result.text == text.upper() and result.windows > 1
    assert [len(call) for call in engine.calls] == [result.windows]  # one batch
    assert "".join(stream(TASKS["translation"], engine, {"text": text, "to": "fr"})) == result.text


def test_an_encoder_decoder_gets_sentences(scripted: Any) -> None:
    engine = scripted(lambda asked: asked, kind="encoder-decoder")
    (result,) = run(
        TASKS["translation"], engine, [{"text": "你好。再见！", "to": "en", "from": "zh"}]
    )
    prefix = "translate Chinese to English: "
    assert result.text == f"{prefix}你好。 {prefix}再见！" and result.windows == 2
    (result,) = run(TASKS["translation"], engine, [{"text": "A cat. A dog.", "to": "zh"}])
    assert result.text.count("translate English to Chinese: ") == 2
    assert ".translate" in result.text  # Chinese writes no blank between sentences


def test_a_long_summary_by_map_and_reduce(scripted: Any) -> None:
    sentences = [f"Fact {n} is that item {n} is here." for n in range(40)]
    engine = scripted(
        lambda asked: " ".join(re.findall(r"Fact (?:0|39) is\b", asked)) or "Nothing.",
        context_length=90,
    )
    (result, short) = run(
        TASKS["summarization"], engine, [{"text": " ".join(sentences)}, {"text": "Fact 0 is."}]
    )
    assert result.text == "Fact 0 is Fact 39 is" and result.windows > 3
    assert short.text == "Fact 0 is" and short.windows == 1
    # What the parts took counts, too; the other text takes part in the last round only.
    pieces = [engine._one(request) for call in engine.calls for request in call]
    read = sum(piece.prompt_tokens for piece in pieces)
    assert read == result.prompt_tokens + short.prompt_tokens
    assert sum(piece.new_tokens for piece in pieces) == result.new_tokens + short.new_tokens


def test_a_summary_that_gets_no_shorter_ends(scripted: Any) -> None:
    engine = scripted(lambda asked: asked * 2, context_length=60)
    (result,) = run(TASKS["summarization"], engine, [{"text": "One two three four. " * 30}])
    assert result.windows > 1 and result.text


@pytest.mark.parametrize("kind", ["decoder", "encoder"])
def test_an_answer_in_one_of_many_windows(scripted: Any, kind: Any) -> None:
    context = "Nothing of note. " * 40 + "The cat is Tom. " + "More of it. " * 40

    def reply(asked: str) -> str:
        return "Tom" if "Tom" in asked else "no answer"

    engine = scripted(reply, kind=kind, context_length=80)
    (result,) = run(
        TASKS["question_answering"],
        engine,
        [{"question": "Tom", "context": context}]
        if kind == "encoder"
        else [{"question": "Who is the cat?", "context": context}],
    )
    start, stop = result.values["span"]
    assert result.text == "Tom" == context[start:stop] and result.windows > 2
    assert not result.values["no_answer"]


@pytest.mark.parametrize("kind", ["decoder", "encoder"])
def test_no_answer(scripted: Any, kind: Any) -> None:
    engine = scripted(lambda asked: "No answer.", kind=kind)
    (result,) = run(
        TASKS["question_answering"], engine, [{"question": "Who?", "context": "It rains."}]
    )
    assert result.text == "" and result.values["no_answer"] and result.values["span"] is None


def test_an_answer_without_log_probabilities_has_no_score(scripted: Any) -> None:
    inputs = [{"question": "What does it do?", "context": "It rains."}]
    engine = scripted(lambda asked: "rains", has_logprobs=False)
    (result,) = run(TASKS["question_answering"], engine, inputs)
    assert result.values["score"] is None and result.values["span"] == [3, 8]
    (result,) = run(TASKS["question_answering"], scripted(lambda asked: "rains"), inputs)
    assert result.values["score"] == pytest.approx(0.36787944)  # exp(-0.5 - 0.5)


TURNS = [
    {"role": "system", "content": "Be kind"},
    {"role": "user", "content": "one two three"},
    {"role": "assistant", "content": "four five"},
    {"role": "user", "content": "six"},
    {"role": "assistant", "content": "seven"},
]


def test_a_long_conversation_loses_its_earliest_turns(scripted: Any) -> None:
    assert list(latest(TURNS, 100, count)) == TURNS
    assert list(latest(TURNS, 16, count)) == [TURNS[0], *TURNS[3:]]
    assert list(latest(TURNS, 10, count)) == [TURNS[0], *TURNS[3:]]
    assert read_turns(write_turns(TURNS)) == tuple(TURNS)
    engine = scripted(lambda asked: "hi", context_length=30)
    (result,) = run(TASKS["dialogue"], engine, [{"text": "eight", "history": write_turns(TURNS)}])
    messages = engine.calls[0][0].messages
    assert messages[0] == TURNS[0] and messages[-1] == {"role": "user", "content": "eight"}
    assert len(messages) < 6 and result.text == "hi"
