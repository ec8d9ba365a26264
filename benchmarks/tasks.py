"""Texts in one batch against one by one: how much faster a task works through a file.

    python benchmarks/tasks.py [--model DIR] [--texts 64] [--new 32] [--threads 1]

The task is translation of storyworld's sentences by a decoder, greedy; without --model one of 14
million parameters whose weights are random, so that nearly every text has all its new tokens. Both
sides are `llmos.tasks.running.run` over the same engine in one process, in turns; the texts must be
the same. Prints seconds of each side, on the clock and of CPU, and their ratios.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

from llmos.data.storyworld.stories import tell
from llmos.data.storyworld.world import sample_story
from llmos.models.engines.local import LocalEngine
from llmos.models.families import build_model
from llmos.models.pieces import count_pieces
from llmos.models.publish import write_model_folder
from llmos.models.vocabulary import Vocabulary, train_tokenizer
from llmos.recipe import Recipe
from llmos.tasks import TASKS
from llmos.tasks.running import run
from llmos.tasks.task import Inputs, Options, Result

ROUNDS = 3


def random_model(folder: Path, texts: list[str]) -> None:
    recipe = Recipe(name="bench").with_values(
        {
            "model.size": "14m",
            "model.context_length": 256,
            "objective.name": "instruction",
            "tokenizer.vocabulary_size": 600,
            "tokenizer.threshold": 0,
        }
    )
    words = Vocabulary.of(train_tokenizer(count_pieces(texts), recipe))
    write_model_folder(folder, build_model(recipe.model, words, seed=0), words, 256)


def timed(work: Callable[[], list[Result]]) -> tuple[float, float, list[str]]:
    clock, cpu = time.perf_counter(), time.process_time()
    results = work()
    return (
        time.perf_counter() - clock,
        time.process_time() - cpu,
        [result.text for result in results],
    )


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--model", type=Path)
    arguments.add_argument("--texts", type=int, default=64)
    arguments.add_argument("--new", type=int, default=32)
    arguments.add_argument("--threads", type=int, default=1)
    given = arguments.parse_args()
    torch.set_num_threads(given.threads)
    texts = [tell(sample_story(0, n), "en").facts["summary"] for n in range(given.texts)]
    task, options = TASKS["translation"], Options(decoding={"max_new_tokens": given.new})
    inputs: list[Inputs] = [{"text": text, "to": "fr", "from": "en"} for text in texts]
    with tempfile.TemporaryDirectory() as folder:
        if given.model is None:
            random_model(Path(folder), texts)
        engine = LocalEngine(given.model or folder)
        run(task, engine, inputs[:2], options)
        sides: dict[str, list[tuple[float, float]]] = {"one by one": [], "batched": []}
        for _ in range(ROUNDS):
            *alone, texts_alone = timed(
                lambda: [run(task, engine, [one], options)[0] for one in inputs]
            )
            *batched, texts_batched = timed(lambda: run(task, engine, inputs, options))
            same = sum(a == b for a, b in zip(texts_alone, texts_batched, strict=True))
            sides["one by one"].append((alone[0], alone[1]))
            sides["batched"].append((batched[0], batched[1]))
    best = {
        name: [min(column) for column in zip(*rows, strict=True)] for name, rows in sides.items()
    }
    for name, (clock, cpu) in best.items():
        print(f"{name:12} {clock:7.2f} s   {cpu:7.2f} s of CPU")
    clock, cpu = (a / b for a, b in zip(best["one by one"], best["batched"], strict=True))
    print(f"batched is {clock:.1f} times as fast ({cpu:.1f} by CPU); {same} of {len(inputs)} same")


if __name__ == "__main__":
    main()
