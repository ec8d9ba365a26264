"""What the real runs share: train a recipe once, open what came out, write results down."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

import llmos
from llmos.models.base import load_base
from llmos.models.vocabulary import Vocabulary
from llmos.recipe import Recipe, load_recipe
from llmos.training.objectives import make_objective
from llmos.training.objectives.objective import Objective

RECIPES = Path(__file__).resolve().parents[1] / "recipes"


def recipe_with(name: str, values: Mapping[str, Any]) -> Recipe:
    """A recipe of the project with some keys changed."""
    return load_recipe(RECIPES / f"{name}.toml").with_values(values)


def train(
    recipe: Recipe,
    out: Path,
    *,
    data: Path | None = None,
    members: Mapping[str, Path] | None = None,
) -> float:
    """Train into `out` unless that was done before; the seconds it took, as noted beside it."""
    noted = out.with_suffix(".seconds")
    if not noted.exists():
        started = time.monotonic()
        print(f"training {out.name} ...", file=sys.stderr, flush=True)
        if (out / "run.json").exists():
            llmos.resume(out)
        else:
            llmos.train(recipe, data=data, members=members, out=out)
        noted.write_text(f"{time.monotonic() - started:.1f}\n")
    return float(noted.read_text())


def opened(run: Path, recipe: Recipe) -> tuple[Any, Vocabulary, Objective]:
    """The published model of a run, its vocabulary and its objective, ready to be asked."""
    name = recipe.objective.name
    head = {
        "instruction": "causal_lm",
        "span_corruption": "seq2seq",
        "masked_lm": "masked_lm_next_sentence" if recipe.objective.next_sentence else "masked_lm",
    }.get(name, name)
    base = load_base(str(run / "model"), head, recipe.objective.labels)
    words = Vocabulary.of(base.tokenizer, base.config)
    return base.model.eval(), words, make_objective(recipe, words)


def bootstrap_share(right: np.ndarray, samples: int = 2000, seed: int = 0) -> tuple[float, float]:
    """A 95 % percentile interval of the mean of 0s and 1s, over the items."""
    random = np.random.default_rng(seed)
    means = right[random.integers(0, len(right), (samples, len(right)))].mean(axis=1)
    return float(np.quantile(means, 0.025)), float(np.quantile(means, 0.975))


def save(out: Path, results: Any) -> None:
    """Write results as JSON and say where."""
    out.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"wrote {out}")
