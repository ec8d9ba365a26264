"""IID check: one corpus dealt to 4 members, H = 50, against one process at equal tokens.

    python benchmarks/iid.py [--corpus FILE_OR_FOLDER] [--seeds 3] [--rounds 8] [--out FILE]

Prints, for every seed, the test loss of the joint run and of single-process training on all text
with the same number of tokens, in two forms: the same number of sequential steps with a batch four
times as large (what data-parallel training would do), and four times the steps with the same batch.
The bar is 2 % of the first.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np

from llmos.data.documents import cut
from llmos.data.packing import PackedSequences
from llmos.data.sources import read_source
from llmos.data.storyworld.stories import write_stories
from llmos.federation.exchange.directory import DirectoryExchange
from llmos.federation.local import train
from llmos.federation.protocol import get_blob
from llmos.federation.report import load_state
from llmos.models.arrays import set_weights, vector_from_bytes
from llmos.recipe import DataSection, Recipe, parse_assignment, parse_recipe
from llmos.storage import sha256_hex
from llmos.training.loop import Trainer
from llmos.training.material import Material
from llmos.training.workbench import Workbench

MEMBERS = 4
RECIPE = """
version = 1
name = "iid"
[model]
num_layers = 4
hidden_size = 128
context_length = 128
[tokenizer]
vocabulary_size = 2048
[training]
batch_size = 8
sequence_length = 64
learning_rate = 2e-3
warmup_steps = 40
[rounds]
local_steps = 50
[compression]
codec = "int8"
[evaluation]
validation_bytes = 100000
test_bytes = 100000
select = "last"
"""


def deal(corpus: Path, folder: Path) -> dict[str, Path]:
    """Parts of the corpus, dealt by hash: an IID split."""
    documents = read_source(corpus, DataSection(), "text").documents
    parts = [part for document in documents for part in cut(document, 2000)]
    paths = {f"m{number}": folder / f"m{number}.jsonl" for number in range(MEMBERS)}
    files = [path.open("w", encoding="utf-8") for path in paths.values()]
    for part in parts:
        number = int(sha256_hex(part.text.encode())[:8], 16) % MEMBERS
        files[number].write(json.dumps({"text": part.text}) + "\n")
    for file in files:
        file.close()
    return paths


def loss(benches: list[Workbench]) -> float:
    """Mean test loss in nats per token over all members' test text, for the first one's model."""
    weights = benches[0].trainer(1).weights()
    total = tokens = 0.0
    for bench in benches:
        set_weights(bench.model, weights)
        scores = bench.score("test")
        total += float(scores.nll.sum())
        tokens += float(scores.tokens.sum())
    return total / tokens


def measure(recipe: Recipe, paths: dict[str, Path], folder: Path) -> dict[str, float]:
    """The three losses of one seed."""
    run = train(recipe, out=folder, members=paths)
    state, _ = load_state(run.folder)
    exchange = DirectoryExchange(folder / "exchange")
    tokenizer = get_blob(exchange, state.tokenizer_sha256)
    benches = [Workbench(recipe, Material(path, recipe), tokenizer) for path in paths.values()]

    def start(round_number: int) -> None:
        data = get_blob(exchange, state.weights[round_number])
        set_weights(benches[0].model, vector_from_bytes(data, state.layout.size))

    start(state.rounds)
    result = {"together": loss(benches)}
    tokens = np.concatenate([bench.data.tokens for bench in benches])
    data = PackedSequences(tokens, recipe.training.sequence_length, recipe.seed)
    steps = recipe.rounds.count * recipe.rounds.local_steps
    for name, batch, count in (
        ("single, batch x 4", MEMBERS, steps),
        ("single, steps x 4", 1, steps * MEMBERS),
    ):
        start(0)
        settings = replace(recipe.training, batch_size=recipe.training.batch_size * batch)
        trainer = Trainer(
            benches[0].model,
            data,
            benches[0].objective,
            settings,
            total_steps=count,
            seed=recipe.seed,
        )
        trainer.run(count)
        result[name] = loss(benches)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--corpus", type=Path, help="default: synthetic stories in English")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    overrides = dict(parse_assignment(text) for text in arguments.set)
    with tempfile.TemporaryDirectory() as folder:
        corpus = arguments.corpus
        if corpus is None:
            corpus = Path(folder) / "stories"
            write_stories(corpus, 4000, ["en"])
            # The stories have few words: more tokens than these cannot be learnt from them.
            overrides.setdefault("tokenizer.vocabulary_size", 1024)
        paths = deal(corpus, Path(folder))
        for seed in range(arguments.seeds):
            recipe = parse_recipe(RECIPE).with_values(
                {"seed": seed, "rounds.count": arguments.rounds, **overrides}
            )
            result = measure(recipe, paths, Path(folder) / f"run{seed}")
            ratio = result["together"] / result["single, batch x 4"] - 1
            record = {"seed": seed, **{k: round(v, 4) for k, v in result.items()}, "excess": ratio}
            print(json.dumps(record), flush=True)
            if arguments.out:
                with arguments.out.open("a") as file:
                    file.write(json.dumps(record) + "\n")


if __name__ == "__main__":
    main()
