"""BERT for real: pre-train on a course in several languages, then tell sentiment (NusaX).

    python benchmarks/real_bert.py [--data DIR] [--work DIR] [--seeds 3] [--threads 0]

Pre-training (recipes/bert.toml): all text in one place, and a joint run of four members with two or
three languages each. Fine-tuning (recipes/sentiment.toml) on NusaX's train and valid parts, judged
on its test part (400 sentences a language), each with several seeds: from the pooled encoder, from
the joint encoder, from the same encoder without pre-training, and as a joint run of four members;
against logistic regression on words (bag of words) and the most frequent label.
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path
from typing import Any

import numpy as np
import real_data
from real_common import bootstrap_share, opened, recipe_with, save, train

from llmos.metrics.classification import accuracy, confusion_matrix, macro_f1
from llmos.models.families import build_model
from llmos.models.publish import write_model_folder
from llmos.recipe import Recipe

MEMBERS = {
    "nusantara": ("en", "id"),
    "iberia": ("es", "pt"),
    "danube": ("ro", "de"),
    "francia": ("fr", "it"),
}
LABELS = ("negative", "neutral", "positive")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=real_data.DATA)
    parser.add_argument("--work", type=Path, default=Path("runs/real-bert"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--joint-seeds", type=int, default=1, help="of the joint fine-tuning")
    parser.add_argument("--threads", type=int, default=0)
    arguments = parser.parse_args()
    work, data, threads = arguments.work, arguments.data, arguments.threads
    work.mkdir(parents=True, exist_ok=True)

    pretraining = recipe_with("bert", {"training.threads": threads})
    folders = {}
    for member, languages in MEMBERS.items():
        pages = [page for language in languages for page in real_data.course(data, language)]
        folders[member] = work / "text" / member
        real_data.write_member(folders[member], pages, list(languages), "Apache-2.0")
    # The members' rounds times their number: the same steps as all members together.
    whole = {"training.steps": pretraining.rounds.count * pretraining.rounds.local_steps * 4}
    seconds = {
        "pooled": train(pretraining.with_values(whole), work / "pooled", data=work / "text"),
        "joint": train(pretraining, work / "joint", members=folders),
    }
    bases = {"pooled": work / "pooled", "joint": work / "joint"}
    bases["none"] = untrained(work / "pooled", pretraining, work / "untrained")

    results: dict[str, Any] = {"seconds": seconds, "pre-training": {}, "sentiment": {}}
    for name in ("pooled", "joint"):
        results["pre-training"][name] = held_out(bases[name], pretraining, work / "text")
    for language in ("english", "indonesian"):
        found: dict[str, Any] = {"bag of words": bag_of_words(data, language)}
        tuning = work / "records" / language
        records = list(real_data.sentiment(data, language, "train", "valid"))
        real_data.write_member(tuning, records, [language[:2]], "CC-BY-SA-4.0")
        parts = {}
        for number in range(4):
            parts[f"m{number}"] = work / "records" / f"{language}-{number}"
            mine = real_data.dealt(records, "text", 4, number)
            real_data.write_member(parts[f"m{number}"], mine, [language[:2]], "CC-BY-SA-4.0")
        test = list(real_data.sentiment(data, language, "test"))
        for name, base in bases.items():
            found[name] = []
            for seed in range(arguments.seeds):
                recipe = tuning_recipe(base, seed, threads)
                out = work / f"{language}-{name}-{seed}"
                train(recipe, out, data=tuning)
                found[name].append(judged(out, recipe, test))
        found["joint fine-tuning of the joint encoder"] = []
        for seed in range(arguments.joint_seeds):
            recipe = tuning_recipe(bases["joint"], seed, threads)
            out = work / f"{language}-joint4-{seed}"
            train(recipe, out, members=parts)
            found["joint fine-tuning of the joint encoder"].append(judged(out, recipe, test))
        results["sentiment"][language] = found
        print_table(language, found)
    save(work / "results.json", results)


def tuning_recipe(base: Path, seed: int, threads: int) -> Recipe:
    values = {"model.base": str(base / "model"), "seed": seed, "training.threads": threads}
    return recipe_with("sentiment", values)


def untrained(like: Path, recipe: Recipe, out: Path) -> Path:
    """The same encoder and tokenizer with fresh weights: fine-tuning without pre-training."""
    _, words, objective = opened(like, recipe)
    model = build_model(recipe.model, words, recipe.seed, head=objective.head)
    write_model_folder(out / "model", model, words, recipe.model.context_length)
    return out


def held_out(run: Path, recipe: Recipe, text: Path) -> dict[str, float]:
    """Masked-token perplexity, bits per byte and next-sentence accuracy on the test split."""
    from llmos.training.material import Material

    model, _, objective = opened(run, recipe)
    documents = Material(text, recipe).test_documents()
    scores = objective.score(model, documents)
    told: Any = objective
    return {
        "masked token perplexity": scores.perplexity,
        "bits per byte of masked tokens": scores.bits_per_byte,
        "next sentence accuracy": told.next_sentence_accuracy(model, documents),
    }


def judged(run: Path, recipe: Recipe, test: list[dict[str, str]]) -> dict[str, Any]:
    model, _, objective = opened(run, recipe)
    told: Any = objective
    found = told.predict(model, [record["text"] for record in test]).argmax(axis=1)
    return figures(found, test)


def figures(found: np.ndarray, test: list[dict[str, str]]) -> dict[str, Any]:
    right = np.array([LABELS.index(record["label"]) for record in test])
    table = confusion_matrix(found, right, len(LABELS))
    low, high = bootstrap_share((found == right).astype(float))
    return {"accuracy": accuracy(table), "low": low, "high": high, "macro F1": macro_f1(table)}


def bag_of_words(data: Path, language: str) -> dict[str, Any]:
    """Logistic regression on tf-idf of words and word pairs; C chosen on the valid part."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    parts = {p: list(real_data.sentiment(data, language, p)) for p in ("train", "valid", "test")}
    texts = {p: [r["text"] for r in records] for p, records in parts.items()}
    labels = {p: [LABELS.index(r["label"]) for r in records] for p, records in parts.items()}

    def fitted(c: float, *names: str) -> Any:
        model = make_pipeline(
            TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True),
            LogisticRegression(C=c, max_iter=2000),
        )
        known = [text for name in names for text in texts[name]]
        return model.fit(known, [label for name in names for label in labels[name]])

    valid = texts["valid"], labels["valid"]
    best = max((0.1, 1.0, 10.0, 100.0), key=lambda c: fitted(c, "train").score(*valid))
    return figures(fitted(best, "train", "valid").predict(texts["test"]), parts["test"])


def print_table(language: str, found: dict[str, Any]) -> None:
    print(f"\n{language}: accuracy on the test part (mean of the seeds), macro F1")
    for name, runs in found.items():
        runs = runs if isinstance(runs, list) else [runs]
        mean = {key: statistics.fmean(run[key] for run in runs) for key in runs[0]}
        each = ", ".join(f"{run['accuracy']:.3f}" for run in runs)
        print(
            f"  {name:40} {mean['accuracy']:.3f} ({mean['low']:.3f} to {mean['high']:.3f}; "
            f"{each}) F1 {mean['macro F1']:.3f}"
        )


if __name__ == "__main__":
    main()
