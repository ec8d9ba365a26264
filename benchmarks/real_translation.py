"""T5 for real: English to Chinese on short sentences (Tatoeba), alone and as a joint run of four.

    python benchmarks/real_translation.py [--data DIR] [--work DIR] [--threads 0] [--steps 0]

The sentences are divided by hash of the English one: 2,000 for the test, which no training sees,
the rest in one place, or dealt to four members. BLEU (zh tokenizer) and chrF by sacrebleu, with
their signatures; greedy search and a beam of 4.
"""

from __future__ import annotations

import argparse
import json
import random
from pathlib import Path
from typing import Any

import real_data
from real_common import opened, recipe_with, save, train

from llmos.models.generate_batch import generate_batch

TEST = 2000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=real_data.DATA)
    parser.add_argument("--work", type=Path, default=Path("runs/real-translation"))
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--steps", type=int, default=2000, help="with all text in one place")
    arguments = parser.parse_args()
    work = arguments.work
    work.mkdir(parents=True, exist_ok=True)

    test, rest = divided(list(real_data.sentence_pairs(arguments.data)))
    licence = "CC-BY-2.0-FR"
    real_data.write_member(work / "pairs", rest, ["en", "zh"], licence)
    members = {}
    for number in range(4):
        members[f"m{number}"] = work / f"pairs-{number}"
        mine = real_data.dealt(rest, "en", 4, number)
        real_data.write_member(members[f"m{number}"], mine, ["en", "zh"], licence)

    recipe = recipe_with("translation", {"training.threads": arguments.threads})
    alone = recipe.with_values({"training.steps": arguments.steps})
    # A quarter of the pairs has too few frequent pieces for the whole vocabulary.
    quarter = recipe.with_values({"tokenizer.vocabulary_size": 4800})
    results: dict[str, Any] = {"test sentences": len(test), "training pairs": len(rest)}
    for name, found, source in (
        ("all in one place", alone, {"data": work / "pairs"}),
        ("one of the four alone", quarter, {"data": members["m0"]}),
        ("four together", recipe, {"members": members}),
    ):
        out = work / name.replace(" ", "-")
        seconds = train(found, out, **source)  # type: ignore[arg-type]
        judged_before = out.with_suffix(".json")
        if judged_before.exists():
            results[name] = json.loads(judged_before.read_bytes())
            continue
        model, words, _ = opened(out, found)
        results[name] = {"seconds": seconds}
        for beams in (1, 4):
            sources = [sources for sources, _ in test]
            written = generate_batch(model, words, sources, max_new_tokens=62, num_beams=beams)
            results[name][f"beam {beams}"] = judged(written, [right for _, right in test])
            print(f"{name}, beam {beams}: {results[name][f'beam {beams}']}")
        results[name]["samples"] = [
            {"source": source, "references": right, "written": text}
            for (source, right), text in list(zip(test, written, strict=True))[:8]
        ]
        save(judged_before, results[name])
    save(work / "results.json", results)


def divided(
    pairs: list[dict[str, str]],
) -> tuple[list[tuple[str, list[str]]], list[dict[str, str]]]:
    """Test sentences with all their translations, and the pairs of all other sentences."""
    translations: dict[str, list[str]] = {}
    for pair in pairs:
        translations.setdefault(pair["en"], []).append(pair["zh"])
    chosen = set(random.Random(1).sample(sorted(translations), TEST))
    test = [(english, translations[english]) for english in sorted(chosen)]
    # A Chinese sentence of the test must not be learnt from another English one either.
    told = {chinese for _, all_of_it in test for chinese in all_of_it}
    return test, [p for p in pairs if p["en"] not in chosen and p["zh"] not in told]


def judged(written: list[str], references: list[list[str]]) -> dict[str, Any]:
    from sacrebleu.metrics import BLEU, CHRF

    most = max(map(len, references))
    streams = [[r[n] if n < len(r) else r[0] for r in references] for n in range(most)]
    found = {}
    for name, metric in (("BLEU", BLEU(tokenize="zh")), ("chrF", CHRF())):
        score = metric.corpus_score(written, streams)
        found[name] = round(score.score, 2)
        found[f"{name} signature"] = str(metric.get_signature())
    return found


if __name__ == "__main__":
    main()
