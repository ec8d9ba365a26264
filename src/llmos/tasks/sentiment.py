"""Sentiment and other labels: which one fits a text, and how probable each is.

A classification head has its own labels. A decoder made for no chats is asked how likely each label
is behind the prompt; where an engine tells no likelihoods, or a chat is all it takes, the label
that it writes counts, and only that one has a probability. A long text is read in parts, each
counted by its length.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from llmos.errors import UsageError
from llmos.models.engines.engine import Decoding, Piece, UnsupportedError
from llmos.tasks.pieces import in_parts
from llmos.tasks.runner import Runner
from llmos.tasks.task import Example, Field, Inputs, Result, Task

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Shares = npt.NDArray[np.float64]

LABELS = ("positive", "neutral", "negative")
_SAID: Mapping[str, str] = {
    "en": "positive, neutral, negative",
    "zh": "正面, 中性, 负面",
    "fr": "positif, neutre, négatif",
    "es": "positivo, neutro, negativo",
    "de": "positiv, neutral, negativ",
    "sw": "chanya, wastani, hasi",
    "id": "positif, netral, negatif",
    "ja": "肯定的, 中立, 否定的",
    "ar": "إيجابي, محايد, سلبي",
}
"""How `LABELS` are said in each language."""


def _labels(inputs: Inputs, language: str) -> dict[str, str]:
    """The labels by how they are said to the model."""
    if not inputs["labels"]:
        return dict(zip(_SAID[language].split(", "), LABELS, strict=True))
    names = [name.strip() for name in inputs["labels"].replace("，", ",").split(",")]
    if len(names) < 2 or not all(names) or len(set(names)) < len(names):
        raise UsageError(f"labels {inputs['labels']!r} are no choice: give two or more by commas")
    return {name: name for name in names}


def _words(inputs: Inputs, language: str) -> Mapping[str, str]:
    return {"labels": ", ".join(_labels(inputs, language))}


def _answer(runner: Runner, many: Sequence[Inputs]) -> list[Result]:
    import numpy as np  # knowing the tasks does not take it

    if runner.engine.kind != "encoder":
        return _told(runner, many)
    labels = runner.engine.labels
    for inputs in many:
        wanted = set(_labels(inputs, "en")) if inputs["labels"] else set()
        if wanted - set(labels):
            raise UsageError(
                f"{runner.engine.name} tells {', '.join(labels) or 'no labels'} apart, not "
                f"{inputs['labels']}: leave --labels out"
            )
    parts = [_parts(runner, inputs) for inputs in many]
    found = runner.engine.classify([part["text"] for of_one in parts for part in of_one])
    results, at = [], 0
    for of_one in parts:
        shares = found[at : at + len(of_one)]
        at += len(of_one)
        mean = np.average(shares, axis=0, weights=[len(part["text"]) for part in of_one])
        results.append(_result(runner, labels, mean, len(of_one)))
    return results


def _told(runner: Runner, many: Sequence[Inputs]) -> list[Result]:
    """By a model that writes: the likelihoods of the labels, or the label that it writes."""
    import numpy as np  # knowing the tasks does not take it

    parts = [_parts(runner, inputs) for inputs in many]
    asked = [part for of_one in parts for part in of_one]
    pieces = iter(runner.write(asked, logprobs=0))  # also finds out how the model is asked
    likely = None if runner.how == "chat" else _likelihoods(runner, asked)
    results, at = [], 0
    for inputs, of_one in zip(many, parts, strict=True):
        said = _labels(inputs, runner.language(inputs))
        some = [next(pieces) for _ in of_one]
        if likely is None:
            results.append(_of_written(runner, said, of_one, some))
        else:
            mean = np.average(
                likely[at : at + len(of_one)], axis=0, weights=[len(p["text"]) for p in of_one]
            )
            results.append(_result(runner, tuple(said.values()), mean, len(of_one)))
        at += len(of_one)
    return results


def _likelihoods(runner: Runner, asked: Sequence[Inputs]) -> list[Shares] | None:
    """Probabilities of each input's labels; None where the engine tells none."""
    import numpy as np  # knowing the tasks does not take it

    pairs, sizes = [], []
    for inputs in asked:
        request = runner.request(inputs, runner.how)
        said = _labels(inputs, runner.language(inputs))
        blank = " " if runner.how == "prompt" else ""
        pairs += [(str(request.prompt), blank + label) for label in said]
        sizes.append(len(said))
    try:
        found = runner.engine.likelihoods(pairs)
    except UnsupportedError:
        return None
    shares, at = [], 0
    for size in sizes:
        values = np.array([one.logprob for one in found[at : at + size]])
        at += size
        weights = np.exp(values - values.max())
        shares.append(weights / weights.sum())
    return shares


def _of_written(
    runner: Runner, said: Mapping[str, str], parts: Sequence[Inputs], pieces: Sequence[Piece]
) -> Result:
    """The label that most of the text was given; "" where the model wrote none of them."""
    votes: dict[str, float] = dict.fromkeys(said.values(), 0.0)
    chances: dict[str, float] = {}
    for part, piece in zip(parts, pieces, strict=True):
        label = _first_label(piece.text, said)
        if label:
            votes[label] += len(part["text"])
            if piece.logprobs:
                chances[label] = math.exp(sum(token.logprob for token in piece.logprobs))
    label = max(votes, key=lambda name: votes[name]) if any(votes.values()) else ""
    known = len(parts) == 1 and label in chances
    values = {"label": label, "probabilities": {label: chances[label]} if known else {}}
    if not label:
        values["written"] = "\n".join(piece.text.strip() for piece in pieces)
    return Result(
        text=label,
        values=values,
        how=runner.how,
        windows=len(parts),
        prompt_tokens=sum(piece.prompt_tokens for piece in pieces),
        new_tokens=sum(piece.new_tokens for piece in pieces),
    )


def _first_label(text: str, said: Mapping[str, str]) -> str:
    """The label named first; of two at one place the longer."""
    low = text.casefold()
    places = [(low.find(name.casefold()), -len(name), label) for name, label in said.items()]
    return min((one for one in places if one[0] >= 0), default=(0, 0, ""))[2]


def _result(runner: Runner, labels: Sequence[str], shares: Shares, windows: int) -> Result:
    probabilities = dict(zip(labels, map(float, shares), strict=True))
    label = max(probabilities, key=lambda name: probabilities[name])
    return Result(
        text=label,
        values={"label": label, "probabilities": probabilities},
        how="head" if runner.engine.kind == "encoder" else runner.how,
        windows=windows,
    )


def _parts(runner: Runner, inputs: Inputs) -> list[Inputs]:
    text = inputs["text"].strip()
    size = runner.room_for(inputs, "text")
    parts = [text] if size is None else in_parts(text, size, runner.count)
    return [{**inputs, "text": part.strip()} for part in parts]


SENTIMENT = Task(
    name="sentiment",
    command="classify",
    about="Tell which label fits a text: its sentiment, or one of your own.",
    fields=(
        Field(name="text", about="what to judge", kind="long_text"),
        Field(
            name="labels", about="labels by commas, else the model's own", kind="list", default=""
        ),
    ),
    chat={
        "en": "{text}\n\nWhich fits this text: {labels}?",
        "zh": "{text}\n\n哪个适合这段文字：{labels}？",
        "fr": "{text}\n\nLequel convient à ce texte : {labels} ?",
        "es": "{text}\n\n¿Cuál conviene a este texto: {labels}?",
        "de": "{text}\n\nWas passt zu diesem Text: {labels}?",
        "sw": "{text}\n\nLipi linafaa maandishi haya: {labels}?",
        "id": "{text}\n\nMana yang cocok dengan teks ini: {labels}?",
        "ja": "{text}\n\nこの文章に合うのはどれですか：{labels}？",
        "ar": "{text}\n\nأيها يناسب هذا النص: {labels}؟",
    },
    prompt="{text}\n{Sentiment} ({labels}):",
    prompt_stop=("\n",),
    source="sentiment: {text}",
    decoding=Decoding(max_new_tokens=12),
    metrics=("accuracy", "macro_f1"),
    example=Example(
        inputs={"text": "The room was clean and the staff were kind."}, output="positive"
    ),
    answer=_answer,
    words=_words,
    is_streamed=False,
    share=0.1,
)
