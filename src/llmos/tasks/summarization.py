"""Summarisation: what matters of a text, shorter. A long one by map and reduce.

Its parts are summarised, then the summaries together, until they fit (as in Wu et al. 2021, arXiv
2109.10862).
"""

from __future__ import annotations

from collections.abc import Sequence

from llmos.models.engines.engine import Decoding
from llmos.tasks.languages import UNSPACED, asked_in
from llmos.tasks.pieces import in_parts
from llmos.tasks.planning import written
from llmos.tasks.runner import Runner
from llmos.tasks.task import Example, Field, Inputs, Plan, Task

ROUNDS = 8
"""Rounds of summaries of summaries at most: a model whose summaries are no shorter never ends."""


def _plan(runner: Runner, many: Sequence[Inputs]) -> list[Plan]:
    """One part each, that fits: the text, or the summaries of its parts. All inputs go together."""
    texts = [inputs["text"].strip() for inputs in many]
    counts = [1] * len(many)
    read, wrote = [0] * len(many), [0] * len(many)
    for _ in range(ROUNDS):
        parts = [_parts(runner, text, inputs) for text, inputs in zip(texts, many, strict=True)]
        cut = [at for at, found in enumerate(parts) if len(found) > 1]
        if not cut:
            break
        asked = [{**many[at], "text": part} for at in cut for part in parts[at]]
        pieces = iter(runner.write(asked))
        for at in cut:
            counts[at] = max(counts[at], len(parts[at]))
            found = [next(pieces) for _ in parts[at]]
            read[at] += sum(piece.prompt_tokens for piece in found)
            wrote[at] += sum(piece.new_tokens for piece in found)
            summaries = filter(None, (piece.text.strip() for piece in found))
            joined = ("" if asked_in(texts[at]) in UNSPACED else " ").join(summaries)
            # What did not get shorter never will: its beginning is what counts then.
            texts[at] = joined if 0 < len(joined) < len(texts[at]) else parts[at][0]
    else:
        texts = [_parts(runner, text, inputs)[0] for text, inputs in zip(texts, many, strict=True)]
    return [
        Plan(({**inputs, "text": text},), ("",), *counted)
        for inputs, text, *counted in zip(many, texts, counts, read, wrote, strict=True)
    ]


def _parts(runner: Runner, text: str, inputs: Inputs) -> list[str]:
    size = runner.room_for(inputs, "text")
    if size is None:
        return [text]
    return [part.strip() for part in in_parts(text, size, runner.count)] or [text]


SUMMARIZATION = Task(
    name="summarization",
    command="summarize",
    about="Summarise a text.",
    fields=(Field(name="text", about="what to summarise", kind="long_text"),),
    chat={
        "en": "Summarise in one or two sentences:\n{text}",
        "zh": "用一两句话概括：\n{text}",
        "fr": "Résume en une ou deux phrases :\n{text}",
        "es": "Resume en una o dos frases:\n{text}",
        "de": "Fasse in ein, zwei Sätzen zusammen:\n{text}",
        "sw": "Fupisha kwa sentensi moja au mbili:\n{text}",
        "id": "Ringkas dalam satu atau dua kalimat:\n{text}",
        "ja": "一、二文で要約してください：\n{text}",
        "ar": "لخّص في جملة أو جملتين:\n{text}",
    },
    prompt="{text}\n\n{Summary}:",
    prompt_stop=("\n",),
    source="summarize: {text}",
    decoding=Decoding(max_new_tokens=160),
    metrics=("rougeL", "rouge1", "rouge2"),
    example=Example(
        inputs={
            "text": "The ferry did not run on Monday. A storm had damaged the pier, and the "
            "island's shops stayed closed until the boat came back on Tuesday."
        },
        output="A storm stopped the ferry on Monday, so the island's shops closed until Tuesday.",
    ),
    plan=_plan,
    answer=written,
)
