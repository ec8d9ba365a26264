"""Question answering: what a text says to a question, where it says it, or that it does not.

A head for spans points at the answer; a model that writes is asked for the text's own words, and
the answer is then looked up in it. A long text is read in windows that overlap; the surest answer
counts (as in SQuAD's baselines, arXiv 1806.03822).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from llmos.models.engines.engine import Decoding, Piece
from llmos.tasks.pieces import windows
from llmos.tasks.runner import Runner
from llmos.tasks.task import Example, Field, How, Inputs, Result, Task

NO_ANSWER: Mapping[str, str] = {
    "en": "no answer",
    "zh": "无答案",
    "fr": "sans réponse",
    "es": "sin respuesta",
    "de": "keine Antwort",
    "sw": "hakuna jibu",
    "id": "tidak ada jawaban",
    "ja": "答えなし",
    "ar": "لا إجابة",
}
"""What a model that writes is asked to say where the text has no answer."""


def _answer(runner: Runner, many: Sequence[Inputs]) -> list[Result]:
    cut = [_windows(runner, inputs) for inputs in many]
    asked = [
        {**inputs, "context": text}
        for inputs, found in zip(many, cut, strict=True)
        for _, text in found
    ]
    is_head = runner.engine.kind == "encoder"
    said = iter(_pointed(runner, asked) if is_head else _written(runner, asked))
    how: How = "head" if is_head else runner.how
    results = []
    for found in cut:
        answers = [_moved(next(said), start) for start, _ in found]
        best = max(answers, key=lambda one: (not one["no_answer"], one["score"] or 0.0))
        values = {name: value for name, value in best.items() if name not in ("piece", "silent")}
        pieces: list[Piece] = [one["piece"] for one in answers if one["piece"]]
        results.append(
            Result(
                text=values["answer"],
                values=values,
                how=how,
                windows=len(found),
                prompt_tokens=sum(piece.prompt_tokens for piece in pieces),
                new_tokens=sum(piece.new_tokens for piece in pieces),
            )
        )
    return results


def _windows(runner: Runner, inputs: Inputs) -> list[tuple[int, str]]:
    context = inputs["context"]
    size = runner.room_for(inputs, "context")
    if size is None or runner.count(context) <= size:
        return [(0, context)]
    return windows(context, size, runner.count)


def _pointed(runner: Runner, asked: Sequence[Inputs]) -> list[dict[str, Any]]:
    pairs = [(inputs["question"], inputs["context"]) for inputs in asked]
    found = runner.engine.spans(pairs)
    return [
        _values(context[start:stop], (start, stop), score)
        for (_, context), (start, stop, score) in zip(pairs, found, strict=True)
    ]


def _written(runner: Runner, asked: Sequence[Inputs]) -> list[dict[str, Any]]:
    """The score is the probability of the whole answer; None where the engine tells none."""
    found = []
    for inputs, piece in zip(asked, runner.write(asked, logprobs=0), strict=True):
        text = piece.text.strip()
        is_none = text.casefold().rstrip(".。") in {no.casefold() for no in NO_ANSWER.values()}
        start = -1 if is_none or not text else inputs["context"].find(text)
        span = (start, start + len(text)) if start >= 0 else None
        score = math.exp(sum(t.logprob for t in piece.logprobs)) if piece.logprobs else None
        found.append(_values("" if is_none else text, span, score, piece))
    return found


def _values(
    answer: str, span: tuple[int, int] | None, score: float | None, piece: Piece | None = None
) -> dict[str, Any]:
    return {
        "answer": answer,
        "span": span if answer else None,
        "score": score,
        "no_answer": not answer,
        "piece": piece,
    }


def _moved(values: dict[str, Any], by: int) -> dict[str, Any]:
    """With the span in the whole context."""
    span = values["span"]
    return {**values, "span": [span[0] + by, span[1] + by] if span else None}


def _words(inputs: Inputs, language: str) -> Mapping[str, str]:
    return {"no_answer": NO_ANSWER[language]}


QUESTION_ANSWERING = Task(
    name="question_answering",
    command="ask",
    about="Answer a question from a text.",
    fields=(
        Field(name="question", about="what you want to know"),
        Field(name="context", about="the text that says it", kind="long_text"),
    ),
    chat={
        "en": "{context}\n\nQuestion: {question}\nAnswer in the text's words, or “{no_answer}”.",
        "zh": "{context}\n\n问题：{question}\n用原文回答，或答“{no_answer}”。",
        "fr": "{context}\n\nQuestion : {question}\nRéponds avec les mots du texte, ou "
        "« {no_answer} ».",
        "es": "{context}\n\nPregunta: {question}\nResponde con las palabras del texto, o "
        "«{no_answer}».",
        "de": "{context}\n\nFrage: {question}\nAntworte mit den Worten des Textes oder "
        "„{no_answer}“.",
        "sw": "{context}\n\nSwali: {question}\nJibu kwa maneno ya maandishi, au “{no_answer}”.",
        "id": "{context}\n\nPertanyaan: {question}\nJawab dengan kata-kata teks, atau "
        "“{no_answer}”.",
        "ja": "{context}\n\n質問：{question}\n本文の言葉か「{no_answer}」で答えてください。",
        "ar": "{context}\n\nالسؤال: {question}\nأجب بكلمات النص، أو «{no_answer}».",
    },
    prompt="{context}\n\n{Question}: {question}\n{Answer}:",
    prompt_stop=("\n",),
    source="question: {question} context: {context}",
    decoding=Decoding(max_new_tokens=64),
    metrics=("exact_match", "f1"),
    example=Example(
        inputs={
            "question": "When did the bridge open?",
            "context": "The bridge was built in four years. It opened in 1932, on a Saturday.",
        },
        output="1932",
    ),
    answer=_answer,
    words=_words,
    is_streamed=False,
    share=0.2,
)
