"""Instruction tuning for real: a small decoder before and after P3 prompts, alone and joint.

    python benchmarks/real_instruct.py [--data DIR] [--work DIR] [--seeds 3] [--threads 0]

Pre-training (recipes/gpt.toml) on English novels and course pages; then recipes/instruct.toml on
prompts of four P3 data sets (commonsense_qa, cosmos_qa, qasc, quartz). P3 asks the same hundred
items of a data set with several templates, so items, not prompts, are held out: those whose number
ends in 8 or 9. Exact match of the greedy answer, against the most frequent answer of each template,
which a model can give without reading the question.
"""

from __future__ import annotations

import argparse
import collections
from pathlib import Path
from typing import Any

import numpy as np
import real_data
from real_common import bootstrap_share, opened, recipe_with, save, train

from llmos.metrics.exact_match import exact_match
from llmos.models.base import load_base
from llmos.models.chat import prompt_tokens
from llmos.models.generate_batch import generate_batch
from llmos.models.vocabulary import Vocabulary

SETS = ("commonsense_qa", "cosmos_qa", "qasc", "quartz")
ITEMS = 100
LONGEST_ANSWER = 24


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=real_data.DATA)
    parser.add_argument("--work", type=Path, default=Path("runs/real-instruct"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=0)
    arguments = parser.parse_args()
    work, data = arguments.work, arguments.data
    work.mkdir(parents=True, exist_ok=True)
    threads = {"training.threads": arguments.threads}

    prose = [*real_data.novels(data, "eng"), *real_data.course(data, "en")]
    real_data.write_member(work / "text", prose, ["en"], "CC-BY-4.0 AND Apache-2.0")
    pretraining = recipe_with("gpt", threads)
    seconds = {"pre-training": train(pretraining, work / "gpt", data=work / "text")}

    learnt, asked = divided(data)
    real_data.write_member(work / "prompts", learnt, ["en"], "Apache-2.0")
    members = {name.replace("_", "-"): work / "prompts-of" / name for name in SETS}
    for name, folder in zip(SETS, members.values(), strict=True):
        real_data.write_member(
            folder, [r for r in learnt if r["set"] == name], ["en"], "Apache-2.0"
        )

    base = load_base(str(work / "gpt"), roles=True)
    words = Vocabulary.of(base.tokenizer, base.config)
    results: dict[str, Any] = {
        "prompts": {"training": len(learnt), "test": len(asked)},
        "most frequent answer": judged([frequent(learnt)[r["template"]] for r in asked], asked),
        "before": [judged(answers(base.model, words, asked), asked)],
    }
    for seed in range(arguments.seeds):
        values = {"model.base": str(work / "gpt" / "model"), "seed": seed, **threads}
        tuning = recipe_with("instruct", values)
        for name, recipe, source in (
            ("after", tuning, {"data": work / "prompts"}),
            ("after, LoRA", tuning.with_values(LORA), {"data": work / "prompts"}),
            ("after, joint run of four", tuning, {"members": members}),
            ("after, joint LoRA of four", tuning.with_values(LORA), {"members": members}),
        ):
            out = work / f"{name.replace(', ', '-').replace(' ', '-')}-{seed}"
            seconds[out.name] = train(recipe, out, **source)  # type: ignore[arg-type]
            model, words, _ = opened(out, recipe)
            found = judged(answers(model, words, asked), asked)
            results.setdefault(name, []).append(found)
            print(f"{name}, seed {seed}: {found}")
    save(work / "results.json", {**results, "seconds": seconds})


LORA = {
    "training.method": "lora",
    "lora.rank": 16,
    "lora.alpha": 32.0,
    "training.learning_rate": 2e-3,
}


def divided(data: Path) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Records to learn from and to ask, divided by the item that a prompt is made of."""
    learnt, asked = [], []
    for name in SETS:
        for number, record in enumerate(real_data.instructions(data, name)):
            item, template = number % ITEMS, f"{name} {number // ITEMS}"
            if len(record["prompt"]) <= 600 and 0 < len(record["answer"]) <= 60:
                (asked if item % 10 >= 8 else learnt).append({**record, "template": template})
    return learnt, asked


def frequent(records: list[dict[str, Any]]) -> dict[str, str]:
    """The most frequent answer of each template."""
    counts: dict[str, collections.Counter[str]] = {}
    for record in records:
        counts.setdefault(record["template"], collections.Counter())[record["answer"]] += 1
    return {template: found.most_common(1)[0][0] for template, found in counts.items()}


def answers(model: Any, words: Vocabulary, asked: list[dict[str, Any]]) -> list[str]:
    prompts = [
        prompt_tokens(words, [{"role": "user", "content": record["prompt"]}]) for record in asked
    ]
    return generate_batch(model, words, prompts, max_new_tokens=LONGEST_ANSWER)


def judged(written: list[str], asked: list[dict[str, Any]]) -> dict[str, Any]:
    right = np.array(
        [exact_match(text, record["answer"]) for text, record in zip(written, asked, strict=True)],
        float,
    )
    low, high = bootstrap_share(right)
    sets = {
        name: float(np.mean([r for r, a in zip(right, asked, strict=True) if a["set"] == name]))
        for name in SETS
    }
    return {"exact match": float(right.mean()), "low": low, "high": high, **sets}


if __name__ == "__main__":
    main()
