"""The quality rules against datatrove's: the same decisions on English, and how much faster.

    python benchmarks/quality.py                      both, on the data sets beside the project
    python benchmarks/quality.py --data FOLDER --megabytes 4

Each English document is judged as it is and made worse in ways that break the rules one by one, by
a little and by much. datatrove runs its stock filters with its own English tokenizer (spaCy's,
no model; `pip install datatrove spacy`), C4's without the rule on full stops, as FineWeb does.
Times are of one process, in seconds of the processor; the sides take turns.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from real_data import DATA, course, instructions, novels, require

from llmos.data.documents import Document, cut
from llmos.data.steps.quality.quality import RULES, Quality
from llmos.data.steps.step import Drop

Worsen = Callable[[str, float, random.Random], str]


def english(data: Path) -> Iterator[str]:
    """English documents of many kinds: pages, novels in parts, articles, abstracts, prompts."""
    for page in course(data, "en"):
        yield page["text"]
        yield re.sub(r"```.*?```", "", page["text"], flags=re.DOTALL)
    for novel in novels(data, "eng"):
        parts = cut(Document(id="", text=novel["text"]), 6000)
        yield from (part.text for part in parts[:: max(1, len(parts) // 25)])
    path = require(data, "pretrain-wikitext2-valid") / "valid.txt.gz"
    with gzip.open(path, "rt", encoding="utf-8") as file:
        yield from re.split(r"\n(?= = [^=])", file.read())
    for name, key, step in (
        ("pretrain-d2l-zh/jsonl/en", "text", 2),
        ("sum-scitldr/dev", "source", 4),
    ):
        folder, _, file_name = name.partition("/")
        with gzip.open(require(data, folder) / f"{file_name}.jsonl.gz", "rt") as file:
            for line in list(file)[::step]:
                text = json.loads(line)[key]
                yield text if isinstance(text, str) else "\n".join(text)
    for record in list(instructions(data, "quoref", "cosmos_qa", "wiki_bio"))[::40]:
        yield record["prompt"] + "\n" + record["answer"]


def _each_line(change: Callable[[str], str]) -> Worsen:
    def worse(text: str, share: float, rng: random.Random) -> str:
        return "\n".join(change(x) if rng.random() < share else x for x in text.split("\n"))

    return worse


def _each_word(change: Callable[[str], str]) -> Worsen:
    def worse(text: str, share: float, rng: random.Random) -> str:
        return re.sub(r"\S+", lambda m: change(m[0]) if rng.random() < share else m[0], text)

    return worse


def _again(text: str, share: float, rng: random.Random) -> str:
    lines = text.split("\n")
    return "\n".join(lines + rng.choices(lines, k=int(len(lines) * share)))


def _paragraphs_again(text: str, share: float, rng: random.Random) -> str:
    parts = text.split("\n\n")
    return "\n\n".join(parts + rng.choices(parts, k=int(len(parts) * share)))


def _phrase_again(text: str, share: float, rng: random.Random) -> str:
    words = text.split(" ")
    size = rng.choice((2, 3, 4, 7, 12))
    at = rng.randrange(max(1, len(words) - size))
    phrase, out = words[at : at + size], []
    for index, word in enumerate(words):
        out.append(word)
        if index % 12 == 0 and rng.random() < share:
            out += phrase
    return " ".join(out)


def _wrap(text: str, share: float, rng: random.Random) -> str:
    every = max(1, int(1 / share))
    words = text.split(" ")
    return "".join(w + ("\n" if i % every == 0 else " ") for i, w in enumerate(words))


WORSE: dict[str, Worsen] = {
    "as it is": lambda text, share, rng: text,
    "a beginning": lambda text, share, rng: text[: int(1200 * share)],
    "bullets": _each_line(lambda line: "- " + line),
    "ellipses": _each_line(lambda line: line.rstrip(" .") + "..."),
    "lines without end": _each_line(lambda line: line.rstrip(" .!?\"'")),
    "lines again": _again,
    "paragraphs again": _paragraphs_again,
    "a phrase again": _phrase_again,
    "wrapped": _wrap,
    "hash signs": _each_word(lambda word: "#" + word),
    "numbers": _each_word(lambda word: str(len(word) * 37)),
    "short words": _each_word(lambda word: word[:1]),
    "long words": _each_word(lambda word: word + "ation" * 2),
    "no small words": _each_word(lambda word: "" if len(word) <= 4 else word),
    "JavaScript": _each_line(lambda line: line + " Enable JavaScript."),
    "cookies": _each_line(lambda line: "This site uses cookies. " + line),
    "brackets": lambda text, share, rng: text + ("\nof a set {" if rng.random() < share else ""),
    "lorem ipsum": lambda text, share, rng: text + "\nLorem ipsum dolor." * (rng.random() < share),
    "citations": _each_line(lambda line: line + "[12] [edit]"),
}


def variants(data: Path) -> list[str]:
    """The documents, as they are and made worse in every way by shares of 0.02 to 1."""
    rng = random.Random(1)
    found = []
    for number, text in enumerate(english(data)):
        for offset, worse in enumerate(WORSE.values()):
            if offset == 0 or (number + offset) % 6 == 0:
                share = (0.02, 0.08, 0.2, 0.35, 0.6, 0.9, 1.0)[(number // 6 + offset) % 7]
                found.append(worse(text[:20000], share, rng))
    return [text for text in found if text.strip()]


def stock_filters() -> dict[str, Any]:
    """datatrove's filters under the names of our sets."""
    from datatrove.pipeline.filters import (
        C4QualityFilter,
        FineWebQualityFilter,
        GopherQualityFilter,
        GopherRepetitionFilter,
    )

    return {
        "gopher_repetition": GopherRepetitionFilter(),
        "gopher": GopherQualityFilter(),
        "c4": C4QualityFilter(filter_no_terminal_punct=False),
        "fineweb": FineWebQualityFilter(),
    }


def theirs(filters: list[Any], text: str) -> tuple[str, str]:
    """What datatrove's filters do: the reason ("" for kept) and the text."""
    from datatrove.data import Document as Theirs

    document = Theirs(text=text, id="")
    for one in filters:
        outcome = one.filter(document)
        if outcome is not True:
            return (outcome[1] if isinstance(outcome, tuple) else "dropped"), document.text
    return "", document.text


def ours(step: Quality, text: str) -> tuple[str, str]:
    """What our step does, likewise."""
    outcome = step(Document(id="", text=text, language="en"), Counter())
    return (outcome.reason, text) if isinstance(outcome, Drop) else ("", outcome.text)


def agreement(texts: list[str], show: int) -> None:
    """Print for each set of rules, and for all, how often both sides decide alike."""
    filters = stock_filters()
    sets = {name: ((name,), [filters[name]]) for name in RULES}
    sets["all four"] = (tuple(RULES), list(filters.values()))
    print(
        f"{len(texts)} English documents\nrules              same decision   same text   dropped by"
    )
    for title, (names, stock) in sets.items():
        step = Quality(names)
        same = same_text = kept = left = right = 0
        pairs: Counter[tuple[str, str]] = Counter()
        for text in texts:
            (reason, our_text), (their_reason, their_text) = ours(step, text), theirs(stock, text)
            same += bool(reason) == bool(their_reason)
            left, right = left + bool(reason), right + bool(their_reason)
            if not reason and not their_reason:
                kept += 1
                same_text += our_text == their_text
            pairs[reason, their_reason] += 1
        print(
            f"{title:18} {same / len(texts):13.2%} {same_text / max(1, kept):11.2%}   {left} | {right}"
        )
        for (reason, their_reason), count in pairs.most_common(show):
            print(f"    {count:6} {reason or 'kept':32} {their_reason or 'kept'}")


def prose(data: Path, megabytes: float) -> dict[str, list[str]]:
    """Running text in three languages, in documents of about 4 kB, none of them twice."""
    novel = {"en": "eng", "fr": "fra"}
    found = {
        language: [
            part.text
            for text in novels(data, name)
            for part in cut(Document(id="", text=text["text"]), 4000)
        ]
        for language, name in novel.items()
    }
    pages = [*course(data, "zh-CN"), *course(data, "zh-TW")]
    found["zh"] = [
        part.text
        for page in pages
        for part in cut(
            Document(id="", text=re.sub(r"```.*?```", "", page["text"], flags=re.S)), 4000
        )
    ]
    for language, texts in found.items():
        size = 0
        for number, text in enumerate(texts):
            size += len(text.encode())
            if size > megabytes * 1e6:
                found[language] = texts[: number + 1]
                break
    return found


def speed(data: Path, megabytes: float) -> None:
    """Print megabytes per second of both sides, language by language."""
    stock = list(stock_filters().values())
    theirs(stock, "Once for what is loaded at the start. " * 30)
    print(
        "\nMB per second of one core   ours   datatrove (a tenth of the text)   ratio   wall, ours"
    )
    for language, texts in prose(data, megabytes).items():
        step = Quality()
        size = sum(len(text.encode()) for text in texts) / 1e6
        begun, wall = time.process_time(), time.perf_counter()
        for text in texts:
            step(Document(id="", text=text, language=language), Counter())
        own = size / (time.process_time() - begun)
        own_wall = size / (time.perf_counter() - wall)
        if language != "en":
            print(f"{language:24} {own:7.2f} {'':48} {own_wall:7.2f}")
            continue
        fewer = texts[::10]
        part = sum(len(text.encode()) for text in fewer) / 1e6
        begun = time.process_time()
        for text in fewer:
            theirs(stock, text)
        other = part / (time.process_time() - begun)
        print(f"{language:24} {own:7.2f} {other:11.3f} {own / other:33.1f}x {own_wall:12.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--megabytes", type=float, default=4, help="of each language, for speed")
    parser.add_argument("--show", type=int, default=0, help="pairs of reasons to show per set")
    given = parser.parse_args()
    speed(given.data, given.megabytes)
    agreement(variants(given.data), given.show)


if __name__ == "__main__":
    main()
