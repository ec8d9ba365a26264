"""Multiple choice by likelihood: ours against lm-evaluation-harness's own model, in one run.

    python benchmarks/scoring.py [--items N] [--turns T] [--data DIR]

A GPT-2 of 14 M parameters with random weights on one thread. Items are cut from real text
(`--data`: a file, else Python's own modules): a context of 30 to 120 words, its true continuation
and three others. Both sides score the same items in turns; the ratio is of the medians of CPU time.
Accuracies must be equal, log-probabilities to 1e-3.
"""

from __future__ import annotations

import argparse
import random
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

CHOICES = 4


def texts(source: Path | None) -> str:
    """Running text: a file, or what Python's own modules say of themselves."""
    if source:
        return source.read_text(encoding="utf-8")
    import statistics as module

    library = Path(module.__file__).parent
    return "\n".join(
        file.read_text(encoding="utf-8", errors="replace")
        for file in sorted(library.glob("[a-d]*.py"))
    )


def items(source: Path | None, count: int, seed: int = 0) -> list[tuple[str, list[str]]]:
    """(context, choices); the first choice is the true continuation."""
    words = texts(source).split()
    draw = random.Random(seed)
    found = []
    for _ in range(count):
        size, at = draw.randint(30, 120), draw.randrange(len(words) - 200)
        choices = []
        for start in (at + size, *(draw.randrange(len(words) - 20) for _ in range(CHOICES - 1))):
            choices.append(" " + " ".join(words[start : start + draw.randint(2, 8)]))
        found.append((" ".join(words[at : at + size]), choices))
    return found


def model_folder(folder: Path, text: str) -> Path:
    """14 M parameters: 6 layers of 384, 8,192 tokens."""
    from llmos.models.families import build_model
    from llmos.models.pieces import count_pieces
    from llmos.models.publish import write_model_folder
    from llmos.models.vocabulary import Vocabulary, train_tokenizer
    from llmos.recipe import Recipe

    recipe = Recipe(name="scoring").with_values(
        {
            "model.num_layers": 6, "model.num_heads": 6, "model.hidden_size": 384,
            "model.context_length": 512, "tokenizer.vocabulary_size": 8192,
            "tokenizer.threshold": 1, "training.sequence_length": 512,
        }
    )  # fmt: skip
    words = Vocabulary.of(train_tokenizer(count_pieces([text]), recipe))
    model = build_model(recipe.model, words, seed=0, head="causal_lm")
    write_model_folder(folder, model, words, 512)
    return folder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=200)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--data", type=Path)
    options = parser.parse_args()

    import torch
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM
    from tokenizers import processors
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from llmos.models.engines.local import LocalEngine

    torch.set_num_threads(1)
    asked = items(options.data, options.items)
    pairs = [(context, choice) for context, choices in asked for choice in choices]
    with tempfile.TemporaryDirectory() as name:
        folder = model_folder(Path(name), texts(options.data))
        ours = LocalEngine(folder)
        tokenizer: Any = AutoTokenizer.from_pretrained(folder)
        # Our models begin a document with a token; lm-eval's has to be told.
        begin = tokenizer.convert_ids_to_tokens(tokenizer.bos_token_id)
        tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{begin} $A", special_tokens=[(begin, tokenizer.bos_token_id)]
        )
        theirs = HFLM(
            pretrained=AutoModelForCausalLM.from_pretrained(folder),
            tokenizer=tokenizer,
            batch_size=options.batch,
            device="cpu",
            add_bos_token=True,
        )

    def by_ours() -> list[float]:
        return [one.logprob for one in ours.likelihoods(pairs)]

    def by_theirs() -> list[float]:
        requests = [
            Instance(request_type="loglikelihood", doc={}, arguments=pair, idx=at)
            for at, pair in enumerate(pairs)
        ]
        return [logprob for logprob, _ in theirs.loglikelihood(requests, disable_tqdm=True)]

    sides: dict[str, Any] = {"llmos": by_ours, f"lm-eval batch {options.batch}": by_theirs}
    cpu: dict[str, list[float]] = {name: [] for name in sides}
    wall: dict[str, list[float]] = {name: [] for name in sides}
    values: dict[str, np.ndarray] = {}
    for _ in range(options.turns):
        for name, run in sides.items():
            began, began_cpu = time.perf_counter(), time.process_time()
            values[name] = np.array(run()).reshape(-1, CHOICES)
            wall[name].append(time.perf_counter() - began)
            cpu[name].append(time.process_time() - began_cpu)
    mine, other = values.values()
    right = [float((side.argmax(1) == 0).mean()) for side in (mine, other)]
    for name in sides:
        print(
            f"{name:<18} CPU {statistics.median(cpu[name]):6.2f} s, wall "
            f"{statistics.median(wall[name]):6.2f} s, {options.items} items x {CHOICES}"
        )
    first, second = sides
    ratio = statistics.median(cpu[second]) / statistics.median(cpu[first])
    print(f"lm-eval / llmos: {ratio:.2f} (CPU), accuracy {right[0]:.4f} and {right[1]:.4f}")
    print(f"largest difference of a log-probability: {abs(mine - other).max():.2e} nats")
    assert right[0] == right[1], "the accuracies differ"
    assert abs(mine - other).max() < 1e-3, "the log-probabilities differ"


if __name__ == "__main__":
    main()
