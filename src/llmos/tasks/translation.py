"""Translation: a text in another language, sentence by sentence where the model learnt sentences.

An encoder-decoder gets a sentence at a time (corpora of translations are sentences); a decoder gets
as many as fit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from llmos.data.sentences import sentences
from llmos.models.engines.engine import Decoding
from llmos.tasks.languages import UNSPACED, base, detected, name_of
from llmos.tasks.pieces import in_parts
from llmos.tasks.planning import written
from llmos.tasks.runner import Runner
from llmos.tasks.task import Example, Field, Inputs, Plan, Task


def _words(inputs: Inputs, language: str) -> Mapping[str, str]:
    """The names of both languages, also as T5 has them: in English."""
    source = inputs["from"] or detected(inputs["text"]) or language
    names = {"from_name": source, "to_name": inputs["to"]}
    return {name: name_of(code, language) for name, code in names.items()} | {
        f"{name}_en": name_of(code, "en") for name, code in names.items()
    }


def _plan(runner: Runner, many: Sequence[Inputs]) -> list[Plan]:
    return [_plan_of(runner, inputs) for inputs in many]


def _plan_of(runner: Runner, inputs: Inputs) -> Plan:
    text = inputs["text"].strip()
    size = runner.room_for(inputs, "text")
    parts = sentences(text) if runner.engine.kind == "encoder-decoder" else [text]
    if size is not None:
        parts = [part for whole in parts for part in in_parts(whole, size, runner.count)]
    before = ["", *(_between(part, inputs["to"]) for part in parts[1:])]
    said = {name: value for name, value in inputs.items() if name != "text"}
    return Plan(tuple({**said, "text": p.strip()} for p in parts), tuple(before), len(parts))


def _between(part: str, to: str) -> str:
    """What parts a sentence from the one before: its line breaks, else as the target has it."""
    gap = part[: len(part) - len(part.lstrip())]
    if "\n" in gap:
        return gap
    return "" if base(to) in UNSPACED else " "


TRANSLATION = Task(
    name="translation",
    command="translate",
    about="Translate a text.",
    fields=(
        Field(name="text", about="what to translate", kind="long_text"),
        Field(name="to", about="the language to translate into, as a code", kind="language"),
        Field(
            name="from", about="its own language, else told by itself", kind="language", default=""
        ),
    ),
    chat={
        "en": "Translate into {to_name}:\n{text}",
        "zh": "翻译成{to_name}：\n{text}",
        "fr": "Traduis en {to_name} :\n{text}",
        "es": "Traduce al {to_name}:\n{text}",
        "de": "Übersetze in die Sprache {to_name}:\n{text}",
        "sw": "Tafsiri kwa {to_name}:\n{text}",
        "id": "Terjemahkan ke bahasa {to_name}:\n{text}",
        "ja": "{to_name}に翻訳してください：\n{text}",
        "ar": "ترجم إلى {to_name}:\n{text}",
    },
    prompt="{from_name}: {text}\n{to_name}:",
    prompt_stop=("\n",),
    source="translate {from_name_en} to {to_name_en}: {text}",
    decoding=Decoding(max_new_tokens=512),
    metrics=("chrf", "bleu"),
    example=Example(
        inputs={"text": "Where is the library?", "to": "fr"}, output="Où est la bibliothèque ?"
    ),
    plan=_plan,
    answer=written,
    words=_words,
    share=0.6,
)
