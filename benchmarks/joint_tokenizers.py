"""Joint tokenizers: what thresholds, temperatures and algorithms do to each language.

    python benchmarks/joint_tokenizers.py [--data FOLDER] [--sizes 16000 32000] [--out FILE]

The members are the 20 languages of pretrain-hf-course, which have between 3 kB and 1.4 MB of text
each. Of every language a fifth of the pages is held out where it has five or more. Printed for each
setting: bytes per token on held-out pages (the smallest, median and largest of the languages), and
for the beginning of the Universal Declaration of Human Rights, the same text in 17 of these
languages and in no training text, the tokens of the dearest language over those of the cheapest and
the mean over languages of tokens over English. `--out` keeps the figures of each language. It takes
about 6 minutes.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import time
import zipfile
from dataclasses import asdict
from pathlib import Path
from statistics import fmean, median
from typing import Any

from llmos.errors import DataError
from llmos.models.disclosure import disclose
from llmos.models.pieces import count_pieces
from llmos.models.tokenizers.fertility import Fertility, fairness_gap, fertility, premiums
from llmos.models.vocabulary import train_joint_tokenizer
from llmos.recipe import Recipe

SHARED = Path(__file__).parents[2] / "shared" / "data"
DECLARATIONS = {
    "ar": ("Arabic_Alarabia-Arabic", "cp1256", "المادة 6"),
    "bn": ("Bengali-UTF8", "utf-8", "ধারা ৬"),
    "de": ("German_Deutsch-Latin1", "latin-1", "Artikel 6"),
    "en": ("English-Latin1", "latin-1", "Article 6"),
    "es": ("Spanish_Espanol-Latin1", "latin-1", "Artículo 6"),
    "fa": ("Farsi_Persian-v2-UTF8", "utf-8", "ماده 6"),
    "fr": ("French_Francais-Latin1", "latin-1", "Article 6"),
    "hi": ("Hindi-UTF8", "utf-8", "अनुच्छेद ६"),
    "id": ("Indonesian-Latin1", "latin-1", "Pasal 6"),
    "it": ("Italian_Italiano-Latin1", "latin-1", "Articolo 6"),
    "ja": ("Japanese_Nihongo-UTF8", "utf-8", "第６条"),
    "ko": ("Korean_Hankuko-UTF8", "utf-8", "제 6 조"),
    "pt": ("Portuguese_Portugues-Latin1", "latin-1", "Artigo 6"),
    "ro": ("Romanian_Romana-Latin2", "iso8859-2", "Articolul 6"),
    "ru": ("Russian_Russky-UTF8", "utf-8", "Статья 6"),
    "vi": ("Vietnamese-UTF8", "utf-8", "Điều 6"),
    "zh-CN": ("Chinese_Mandarin-UTF8", "utf-8", "第六条"),
}
"""File, encoding and where article 6 begins: the files are cut off at several places behind it."""
THRESHOLDS = (0, 2, 5, 10)
TEMPERATURES = (1.0, 2.0, 5.0)


def pages(folder: Path) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """Training and held-out pages of each language."""
    train: dict[str, list[str]] = {}
    held_out: dict[str, list[str]] = {}
    for path in sorted((folder / "pretrain-hf-course" / "jsonl").glob("*.jsonl*")):
        language = path.name.partition(".")[0]
        data = path.read_bytes()
        lines = (gzip.decompress(data) if path.suffix == ".gz" else data).splitlines()
        texts = [json.loads(line)["text"] for line in lines]
        train[language] = [t for n, t in enumerate(texts) if n % 5 != 4]
        held_out[language] = texts[4::5]
    return train, {language: texts for language, texts in held_out.items() if texts}


def declarations(folder: Path) -> dict[str, str]:
    """The Declaration's preamble and first five articles in each language."""
    found: dict[str, str] = {}
    with zipfile.ZipFile(folder / "pretrain-udhr" / "udhr.zip") as archive:
        for language, (name, encoding, sixth) in DECLARATIONS.items():
            text = archive.read(f"udhr/{name}").decode(encoding, errors="ignore")
            if language == "zh-CN":  # the file has blanks between characters, and a foreword
                text = "".join(text.split())
                text = text[text.index("序言") :]
            found[language] = text[: text.index(sixth)].strip("\ufeff\r\n ")
    return found


def settings(sizes: list[int]) -> list[dict[str, Any]]:
    """Thresholds and temperatures of byte_bpe; the other algorithms at the default threshold."""
    found: list[dict[str, Any]] = [
        {"vocabulary_size": size, "threshold": threshold, "temperature": temperature}
        for size in sizes
        for threshold in THRESHOLDS
        for temperature in TEMPERATURES
    ]
    others = [{"algorithm": name} for name in ("unigram", "wordpiece")]
    return found + [
        {"vocabulary_size": sizes[0], "threshold": 5, "temperature": temperature, **other}
        for other in others
        for temperature in (1.0, 5.0)
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    default = Path(os.environ.get("LLMOS_SHARED_DATA") or SHARED)
    parser.add_argument("--data", type=Path, default=default, help="folder with the data sets")
    parser.add_argument("--sizes", type=int, nargs="+", default=[16_000, 32_000])
    parser.add_argument("--algorithms", nargs="+", default=["byte_bpe", "unigram", "wordpiece"])
    parser.add_argument("--out", type=Path, help="write all figures as JSON")
    arguments = parser.parse_args()
    train, held_out = pages(arguments.data)
    same = declarations(arguments.data)
    counts = {language: count_pieces(texts) for language, texts in train.items()}
    kept: list[dict[str, Any]] = []
    print("algorithm  size  thr.  T  left  held-out bytes/token      UDHR  mean    CPU s")
    print("                       pieces     min median    max       gap  /en  to train")
    for values in settings(arguments.sizes):
        if values.get("algorithm", "byte_bpe") not in arguments.algorithms:
            continue
        recipe = Recipe(name="bench").with_values(
            {f"tokenizer.{key}": value for key, value in values.items()}
            | {"model.family": "bert", "objective.name": "masked_lm"}
        )
        left = [disclose(own, values["threshold"]) for own in counts.values()]
        start = time.process_time()
        try:
            tokenizer = train_joint_tokenizer(left, recipe)
        except DataError as error:  # a high threshold leaves too little for a large vocabulary
            print(f"{recipe.tokenizer.algorithm:9} {values}: {error}", flush=True)
            continue
        seconds = time.process_time() - start
        fresh = {language: fertility(tokenizer, texts) for language, texts in held_out.items()}
        parallel = {language: fertility(tokenizer, [text]) for language, text in same.items()}
        each = [found.bytes_per_token for found in fresh.values()]
        to_english = premiums(parallel, "en")
        unknown = max(parallel.values(), key=lambda found: found.unknown_share).unknown_share
        print(
            f"{recipe.tokenizer.algorithm:9} {values['vocabulary_size']:6} "
            f"{values['threshold']:3} {values['temperature']:3} {sum(map(len, left)):8} "
            f"{min(each):6.2f} {median(each):6.2f} {max(each):6.2f}   "
            f"{fairness_gap(parallel):7.2f} {fmean(to_english.values()):5.2f} {seconds:7.1f}"
            + (f"  unknown up to {unknown:.1%}" if unknown else ""),
            flush=True,
        )
        kept.append(
            {
                **values,
                "held_out": {language: figures(found) for language, found in fresh.items()},
                "declaration": {language: figures(found) for language, found in parallel.items()},
                "premiums": to_english,
            }
        )
    if arguments.out:
        arguments.out.write_text(json.dumps(kept, indent=1))


def figures(found: Fertility) -> dict[str, Any]:
    return {**asdict(found), "bytes_per_token": found.bytes_per_token}


if __name__ == "__main__":
    main()
