"""Translation by beam search on a CPU: transformers' `generate` and CTranslate2, in one run.

    python benchmarks/translation_speed.py [--model FOLDER --text FILE] [--threads 1]

Each side gets the same sources in batches of 1 and of 16 and searches with 4 beams. Without a model
a T5 of 16 M weights is drawn, whose texts all run to the limit: then as many tokens are written on
each side. With a model, a file of sources (a line each) shows how many texts are the same. Ratios
are of processor time, which other programs on the machine disturb less. Needs ctranslate2.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from llmos.models.engines.ctranslate2_engine import CTranslate2Engine
from llmos.models.engines.engine import Decoding, Request
from llmos.models.engines.loading import Loaded, load
from llmos.models.export.exporting import export
from llmos.models.families import build_model
from llmos.models.generate_batch import generate_batch
from llmos.models.pieces import count_pieces
from llmos.models.publish import write_model_folder
from llmos.models.vocabulary import Vocabulary, train_tokenizer
from llmos.recipe import Recipe

BEAMS = 4
NEW = 32
VOCABULARY = 8000
Side = Callable[[Sequence[str], int], list[str]]


def drawn(folder: Path) -> list[str]:
    """A T5 of 16 M weights that no one trained, and sources for it."""
    things = ("tree", "house", "street", "river", "bread", "garden", "letter", "window")
    sources = [
        f"the {a} by the {b} and {n} more of the {c}"
        for n, (a, b, c) in enumerate((a, b, c) for a in things for b in things for c in things[:2])
    ]
    recipe = Recipe(name="speed").with_values(
        {
            "model.family": "t5",
            "model.num_layers": 6,
            "model.num_heads": 8,
            "model.hidden_size": 320,
            "model.context_length": 128,
            "training.sequence_length": 128,
            "tokenizer.vocabulary_size": 380,
            "tokenizer.threshold": 0,
            "objective.name": "seq2seq",
        }
    )
    words = Vocabulary.of(train_tokenizer(count_pieces(sources), recipe))
    model = build_model(recipe.model, words, seed=1, head="seq2seq")
    model.resize_token_embeddings(VOCABULARY, mean_resizing=False)
    write_model_folder(folder, model.eval(), words, 128)
    return sources


def by_transformers(loaded: Loaded) -> Side:
    def run(sources: Sequence[str], batch: int) -> list[str]:
        return generate_batch(
            loaded.model,
            loaded.words,
            sources,
            max_new_tokens=NEW,
            num_beams=BEAMS,
            batch_size=batch,
        )

    return run


def by_engine(engine: CTranslate2Engine) -> Side:
    decoding = Decoding(max_new_tokens=NEW, num_beams=BEAMS)

    def run(sources: Sequence[str], batch: int) -> list[str]:
        found = []
        for at in range(0, len(sources), batch):
            some = [Request(prompt=text, decoding=decoding) for text in sources[at : at + batch]]
            found += [piece.text for piece in engine.write(some)]
        return found

    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path)
    parser.add_argument("--text", type=Path)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--sources", type=int, default=32)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    with TemporaryDirectory() as work:
        folder = arguments.model or Path(work, "t5")
        sources = drawn(folder) if arguments.model is None else []
        if arguments.text:
            sources = arguments.text.read_text(encoding="utf-8").splitlines()
        sources = sources[: arguments.sources]
        loaded = load(folder)
        size = sum(parameter.numel() for parameter in loaded.model.parameters())
        print(f"{size / 1e6:.1f} M weights, {len(sources)} sources, {arguments.threads} threads")
        sides = {"transformers": by_transformers(loaded)}
        for precision in ("float32", "int8"):
            out = Path(work, precision)
            export(folder, "ct2", out, precision)
            engine = CTranslate2Engine(out, threads=arguments.threads)
            sides[f"ctranslate2 {precision}"] = by_engine(engine)
        for batch in (1, 16):
            measure(sides, sources, batch)


def measure(sides: dict[str, Side], sources: Sequence[str], batch: int) -> None:
    base, texts = 0.0, None
    some = sources if batch > 1 else sources[: max(1, len(sources) // 4)]
    for name, run in sides.items():
        run(some[:1], 1)  # what is done once
        wall, processor = time.perf_counter(), time.process_time()
        found = run(some, batch)
        wall, processor = time.perf_counter() - wall, time.process_time() - processor
        base, texts = base or processor, texts or found
        same = sum(a == b for a, b in zip(found, texts, strict=True)) / len(found)
        print(
            f"batch {batch:2}  {name:20} {len(some) / wall:6.1f} sentences/s, "
            f"{len(some) / processor:6.1f} by processor time ({base / processor:4.1f} x), "
            f"{same:.0%} of the texts the same"
        )


if __name__ == "__main__":
    main()
