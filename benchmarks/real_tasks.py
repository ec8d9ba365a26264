"""Tasks for real: small models on public data, each judged on what its training never saw.

    python benchmarks/real_tasks.py [--data DIR] [--work DIR] [--threads 1] [--only NAME ...]

| name      | data                          | model                      | judged by            |
|-----------|-------------------------------|----------------------------|----------------------|
| swahili   | Global Voices, en to sw       | T5 from scratch            | chrF, BLEU           |
| titles    | CSL, abstract to title (zh)   | T5 from scratch            | ROUGE-L              |
| scitldr   | SciTLDR, abstract to a line   | T5 from scratch            | ROUGE-L              |
| spans     | JaQuAD and CMRC (ja, zh)      | BERT from scratch          | exact match, F1      |
| dialogue  | KdConv (zh)                   | Llama style from scratch   | chrF, bits per byte  |

Beside each model stands what takes no learning: the source itself, the first sentence, the sentence
that shares most with the question, the answer that is given most often. One seed.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import real_data
from real_common import recipe_with, save, train

from llmos.metrics.names import metric
from llmos.metrics.score import score
from llmos.models.engines.local import LocalEngine
from llmos.tasks import TASKS
from llmos.tasks.running import run

Record = real_data.Record
Baseline = Callable[[Record], str]


@dataclass(frozen=True)
class Trial:
    """Records to learn from and to be judged on, the recipe, and what takes no learning."""

    recipe: str
    values: dict[str, Any]
    learn: list[Record]
    judge: list[Record]
    languages: list[str]
    licence: str
    task: str
    inputs: Callable[[Record], dict[str, str]]
    references: Callable[[Record], list[str]]
    judged_in: str
    metrics: tuple[str, ...]
    baselines: dict[str, Baseline]


SMALL_T5 = {"model.context_length": 192, "training.sequence_length": 192, "training.batch_size": 32}
_ENDS = re.compile(r"(?<=[.!?。！？])\s*")


def sentences(text: str) -> list[str]:
    return [one for one in _ENDS.split(text) if one.strip()]


def nearest_sentence(record: Record) -> str:
    """The sentence of the context that shares most pairs of letters with the question."""
    asked = set(pairwise(record["question"]))

    def shared(sentence: str) -> float:
        pairs = set(pairwise(sentence))
        return len(asked & pairs) / (len(pairs) ** 0.5 + 1)

    return max(sentences(record["context"]), key=shared, default="")


def parted(records: Sequence[Record], count: int) -> tuple[list[Record], list[Record]]:
    """`count` of the records to judge by, the others to learn from."""
    order = list(records)
    random.Random(1).shuffle(order)
    return order[count:], order[:count]


def swahili(data: Path) -> Trial:
    folder = real_data.require(data, "mt-globalvoices-en-sw")
    columns = []
    for code in ("en", "sw"):
        with gzip.open(folder / f"GlobalVoices.en-sw.{code}.gz", "rt", encoding="utf-8") as file:
            columns.append(file.read().split("\n"))
    pairs = {en: sw for en, sw in zip(*columns, strict=True) if 2 < len(en) < 300 and sw.strip()}
    learn, judge = parted([{"en": en, "sw": sw} for en, sw in pairs.items()], 500)
    values = {
        "languages": ["en", "sw"], "data.source_field": "en", "data.target_field": "sw",
        "model.context_length": 128, "training.sequence_length": 128, "training.steps": 2400,
        "training.batch_size": 48,
    }  # fmt: skip
    return Trial(
        "translation", values, learn, judge, ["en", "sw"], "CC-BY-3.0", "translation",
        lambda r: {"text": r["en"], "from": "en", "to": "sw"}, lambda r: [r["sw"]],
        "sw", ("chrf", "bleu"), {"the source itself": lambda r: r["en"]},
    )  # fmt: skip


def _rows(path: Path) -> Iterator[list[str]]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        for line in file:
            yield line.rstrip("\n").split("\t")


def titles(data: Path) -> Trial:
    folder = real_data.require(data, "sum-csl-dev")
    found = [{"text": row[1], "title": row[2]} for row in _rows(folder / "ts" / "dev.tsv.gz")]
    learn, judge = parted([one for one in found if one["text"] and one["title"]], 200)
    return _summaries(learn, judge, "zh", "Apache-2.0", "title", 400)


def scitldr(data: Path) -> Trial:
    folder = real_data.require(data, "sum-scitldr")
    parts = []
    for name in ("train", "test"):
        with gzip.open(folder / f"{name}.jsonl.gz", "rt", encoding="utf-8") as file:
            parts.append([json.loads(line) for line in file])
    learn, judge = (
        [
            {"text": " ".join(one["source"]), "line": one["target"][0], "all": one["target"]}
            for one in part
        ]
        for part in parts
    )
    return _summaries(learn, judge[:300], "en", "Apache-2.0", "line", 500)


def _summaries(
    learn: list[Record], judge: list[Record], code: str, licence: str, name: str, steps: int
) -> Trial:
    values = SMALL_T5 | {
        "languages": [code], "data.source_field": "text", "data.target_field": name,
        "training.steps": steps, "tokenizer.vocabulary_size": 4000,
    }  # fmt: skip
    return Trial(
        "translation", values, learn, judge, [code], licence, "summarization",
        lambda r: {"text": r["text"]}, lambda r: r.get("all", [r[name]]), code, ("rougeL",),
        {"the first sentence": lambda r: (sentences(r["text"]) or [""])[0]},
    )  # fmt: skip


def _squad(paths: Sequence[Path]) -> Iterator[Record]:
    for path in paths:
        with gzip.open(path, "rt", encoding="utf-8") as file:
            content = json.load(file)
        for article in content["data"]:
            for paragraph in article["paragraphs"]:
                for one in paragraph["qas"]:
                    answer = one["answers"][0]
                    place = answer["answer_start"]
                    if paragraph["context"][place : place + len(answer["text"])] == answer["text"]:
                        yield {
                            "context": paragraph["context"], "question": one["question"],
                            "answers": one["answers"],
                        }  # fmt: skip


def spans(data: Path) -> Trial:
    japanese = real_data.require(data, "qa-jaquad")
    chinese = real_data.require(data, "qa-cmrc2018") / "squad-style-data"
    learn = [
        *_squad(sorted((japanese / "train").glob("*.json.gz"))),
        *_squad([chinese / "cmrc2018_trial.json.gz"]),
    ]
    _, judge = parted(list(_squad(sorted((japanese / "dev").glob("*.json.gz")))), 300)
    values = {
        "languages": ["ja", "zh"], "objective.name": "extractive_qa",
        "objective.next_sentence": False, "training.steps": 1500, "training.batch_size": 16,
        "model.context_length": 256, "training.sequence_length": 256,
    }  # fmt: skip
    return Trial(
        "bert", values, learn, judge, ["ja", "zh"], "CC-BY-SA-4.0", "question_answering",
        lambda r: {"question": r["question"], "context": r["context"]},
        lambda r: [one["text"] for one in r["answers"]], "ja", ("exact_match", "f1"),
        {"the nearest sentence": nearest_sentence},
    )  # fmt: skip


def dialogue(data: Path) -> Trial:
    folder = real_data.require(data, "dlg-kdconv-dev")
    talks = []
    for path in sorted(folder.glob("*/dev.json*")):
        opened: Any = gzip.open if path.suffix == ".gz" else open
        with opened(path, "rt", encoding="utf-8") as file:
            talks += json.load(file)
    learn_talks, judge_talks = parted([{"turns": _turns(one)} for one in talks], 45)
    learn = [{"messages": one["turns"]} for one in learn_talks]
    judge = [
        {
            "history": one["turns"][: at - 1],
            "text": one["turns"][at - 1]["content"],
            "answer": turn["content"],
        }
        for one in judge_talks
        for at, turn in enumerate(one["turns"])
        if turn["role"] == "assistant"
    ]
    usual = Counter(
        t["content"] for one in learn for t in one["messages"] if t["role"] == "assistant"
    )
    values = {
        "languages": ["zh"], "training.steps": 600, "training.batch_size": 8,
        "model.context_length": 512, "training.sequence_length": 512,
        "tokenizer.vocabulary_size": 3000, "rounds.count": 6, "rounds.local_steps": 100,
    }  # fmt: skip
    return Trial(
        "storyworld-tasks", values, learn, judge[:300], ["zh"], "Apache-2.0", "dialogue",
        lambda r: {"text": r["text"], "history": json.dumps(r["history"], ensure_ascii=False)},
        lambda r: [r["answer"]], "zh", ("chrf",),
        {"the usual answer": lambda r: usual.most_common(1)[0][0]},
    )  # fmt: skip


def _turns(talk: Record) -> list[dict[str, str]]:
    """User and assistant in turn, ended by the assistant."""
    said = [one["message"] for one in talk["messages"]]
    said = said[: len(said) // 2 * 2]
    return [
        {"role": "assistant" if at % 2 else "user", "content": text} for at, text in enumerate(said)
    ]


TRIALS = {
    "swahili": swahili, "titles": titles, "scitldr": scitldr, "spans": spans, "dialogue": dialogue,
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=real_data.DATA)
    parser.add_argument("--work", type=Path, default=Path("runs/real-tasks"))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--only", nargs="*", choices=list(TRIALS), default=list(TRIALS))
    parser.add_argument("--steps", type=int, default=0, help="fewer, to try it out")
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    for name in arguments.only:
        trial = TRIALS[name](arguments.data)
        folder = arguments.work / f"{name}-text"
        real_data.write_member(folder, trial.learn, trial.languages, trial.licence)
        values = {**trial.values, "training.threads": arguments.threads}
        if arguments.steps:
            values["training.steps"] = arguments.steps
        recipe = recipe_with(trial.recipe, values)
        seconds = train(recipe, arguments.work / name, data=folder)
        save(
            arguments.work / f"{name}.json",
            judged(trial, arguments.work / name) | {"seconds": seconds},
        )


def judged(trial: Trial, folder: Path) -> dict[str, Any]:
    """The scores of the model and of what takes no learning, and some of what it wrote."""
    engine = LocalEngine(folder / "model")
    given = [trial.inputs(one) for one in trial.judge]
    written = [one.text for one in run(TASKS[trial.task], engine, given)]
    answers = {"the model": written}
    answers |= {name: [make(one) for one in trial.judge] for name, make in trial.baselines.items()}
    references = [trial.references(one) for one in trial.judge]
    found: dict[str, Any] = {"learned from": len(trial.learn), "judged on": len(trial.judge)}
    for name, texts in answers.items():
        for measure in trial.metrics:
            one = score(metric(measure, language=trial.judged_in), texts, references)
            found[f"{name}: {measure}"] = [round(x, 4) for x in (one.value, one.low, one.high)]
    found["samples"] = [
        {"input": one, "references": two, "written": three}
        for one, two, three in list(zip(given, references, written, strict=True))[:6]
    ]
    for key, value in found.items():
        if key != "samples":
            print(f"{folder.name}: {key}: {value}", flush=True)
    return found


if __name__ == "__main__":
    main()
