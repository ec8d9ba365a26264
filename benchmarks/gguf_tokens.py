"""How often llama.cpp cuts text into other tokens than we do, for each pattern that it knows.

    python benchmarks/gguf_tokens.py ../shared/data

llama.cpp cuts text by one of a fixed list of patterns, and none of them is ours. A tokenizer of
16,000 tokens is learned from every other line of the Universal Declaration of Human Rights in 20
languages, of English articles, programs and sums in words; the other lines are cut by both. The
share is of our tokens (start and id) that llama.cpp does not have. It needs xllamacpp and gguf.
"""

from __future__ import annotations

import gzip
import json
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx2 as httpx
import xllamacpp

from llmos.models.engines.loading import load
from llmos.models.export import gguf
from llmos.models.families import build_model
from llmos.models.pieces import PATTERN, count_pieces
from llmos.models.publish import write_model_folder
from llmos.models.vocabulary import Vocabulary, train_tokenizer
from llmos.recipe import Recipe

LANGUAGES = """
Amharic Bengali Chinese_Mandarin Czech Ewe_Eve Farsi_Persian Greek_Ellinika Gujarati Hebrew_Ivrit
Hindi Japanese_Nihongo Korean_Hankuko Punjabi_Panjabi Russian_Russky Sami_Lappish Sanskrit
Serbian_Srpski Sinhala Tamil Thai Turkish_Turkce Vietnamese
"""
OTHERS = {
    "English": "pretrain-wikitext2-valid/valid.txt.gz",
    "Python": "code-mbxp/mbpp_release_v1.jsonl.gz",
    "Java": "code-mbxp/mbjp_release_v1.2.jsonl.gz",
    "Sums": "math-gsm8k-train/train.first2000.jsonl.gz",
}
LINES = 1200
"""As many lines of each of the others: English, two programming languages, sums in words."""
PATTERNS = """
default gpt-2 llama-bpe qwen2 qwen35 gpt-4o deepseek-llm deepseek-v3 kimi-k2 bloom viking poro-chat
hunyuan-dense superbpe joyai-llm tiny_aya
"""


def lines_of(data: Path) -> dict[str, list[str]]:
    """The lines of each language, of the programs and of the sums."""
    found = {}
    for name, path in OTHERS.items():
        lines = gzip.decompress((data / path).read_bytes()).decode().splitlines()
        if path.endswith(".jsonl.gz"):
            records = [json.loads(line) for line in lines]
            lines = [line for r in records for v in r.values() for line in str(v).splitlines()]
        found[name] = [line for line in lines if line.strip()][:LINES]
    with zipfile.ZipFile(data / "pretrain-udhr" / "udhr.zip") as archive:
        names = archive.namelist()
        for language in LANGUAGES.split():
            some = [n for n in names if n.startswith(f"udhr/{language}-") and "UTF8" in n]
            if some:
                text = archive.read(some[0]).decode("utf-8", "replace")
                found[language] = [line for line in text.splitlines() if line.strip()]
    return found


def spans(words: Vocabulary, ids: Sequence[int]) -> set[tuple[int, int]]:
    """The byte where each token begins, and its id."""
    sizes = words._byte_lengths
    assert sizes is not None
    found, at = set(), 0
    for token in ids:
        found.add((at, token))
        at += int(sizes[token])
    return found


def shares(file: Path, words: Vocabulary, lines: dict[str, list[str]]) -> dict[str, float]:
    """By language, the share of our tokens that llama.cpp does not have."""
    settings = xllamacpp.CommonParams()
    settings.model.path = str(file)
    settings.warmup = settings.ui = settings.fit_params = False
    settings.n_ctx, settings.verbosity = 64, 0
    server = xllamacpp.Server(settings)
    found = {}
    with httpx.Client(base_url=server.listening_address, timeout=60) as client:
        for language, some in lines.items():
            lost = total = 0
            for line in some:
                ours = spans(words, words.encode(line))
                body = {"content": line, "add_special": False, "parse_special": False}
                theirs = client.post("/tokenize", json=body).json()["tokens"]
                lost += len(ours - spans(words, theirs))
                total += len(ours)
            found[language] = lost / total
    del server
    return found


def main() -> None:
    lines = lines_of(Path(sys.argv[1]))
    recipe = Recipe(name="tokens").with_values(
        {
            "model.family": "gpt2",
            "model.num_layers": 1,
            "model.num_heads": 2,
            "model.hidden_size": 32,
            "model.context_length": 64,
            "training.sequence_length": 64,
            "tokenizer.vocabulary_size": 16000,
            "tokenizer.threshold": 0,
        }
    )
    texts = [line for some in lines.values() for line in some[::2]]
    words = Vocabulary.of(train_tokenizer(count_pieces(texts), recipe))
    held_out = {language: some[1::2] for language, some in lines.items()}
    print(f"{len(lines)} languages, {sum(map(len, held_out.values()))} lines")
    with TemporaryDirectory() as folder:
        write_model_folder(Path(folder, "m"), build_model(recipe.model, words, seed=1), words, 64)
        loaded = load(Path(folder, "m"))
        for name in PATTERNS.split():
            gguf._CUTS[PATTERN] = name
            file = Path(folder, "m.gguf")
            gguf.write_gguf(loaded, file, "float32")
            try:
                found = shares(file, words, held_out)
            except Exception as error:
                print(f"{name:14} not in this llama.cpp ({str(error)[:60]})")
                continue
            mean = sum(found.values()) / len(found)
            worst = sorted(found.items(), key=lambda item: -item[1])
            few = sum(share < 0.005 for share in found.values())
            shown = " ".join(f"{n.split('_')[0]} {s:.1%}" for n, s in worst[:8])
            print(f"{name:14} mean {mean:.2%}, below 0.5 %: {few} languages; {shown}", flush=True)


if __name__ == "__main__":
    main()
