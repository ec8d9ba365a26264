"""The quality rules against datatrove's: the same decisions on English, and how much faster.

    python benchmarks/quality.py                      both, on the data sets beside the project
    python benchmarks/quality.py --data FOLDER --megabytes 4 --documents 4000

Each English document is judged as it is and made worse in ways that break the rules one by one, by
a little and by much. datatrove runs its stock filters with its own English tokenizer (spaCy's,
which needs no model; `pip install datatrove spacy`), C4's without the rule on full stops, as
FineWeb does. Speed is that of one process from its start, in time of the processor; the two sides
take turns, block by block, datatrove on every twentieth block only. Our words of chunks met before
are remembered, so more text goes faster.
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
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from real_data import DATA, course, instructions, novels, require

from llmos.data.documents import Document, cut
from llmos.data.steps.quality.quality import RULES, Quality
from llmos.data.steps.step import Drop

LONGEST = 5000  # characters of a document to judge; datatrove takes seconds for more
BLOCK = 20  # documents

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


def variants(data: Path, documents: int) -> list[str]:
    """The documents, as they are and made worse in every way by shares of 0.02 to 1."""
    rng = random.Random(1)
    found = []
    for number, text in enumerate(english(data)):
        for offset, worse in enumerate(WORSE.values()):
            if offset == 0 or (number + offset) % 6 == 0:
                share = (0.02, 0.08, 0.2, 0.35, 0.6, 0.9, 1.0)[(number // 6 + offset) % 7]
                found.append(worse(text[:LONGEST], share, rng)[:LONGEST])
    found = [text for text in found if text.strip()]
    rng.shuffle(found)
    return found[:documents]


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
    sets["all four"] = (tuple(RULES), [filters[name] for name in RULES])
    print(f"\n{len(texts)} English documents")
    print("rules               same decision   same text if kept   dropped by us, by datatrove")
    for title, (names, stock) in sets.items():
        step = Quality(names)
        pairs: Counter[tuple[str, str]] = Counter()
        same_text = 0
        for text in texts:
            (reason, our_text), (other, other_text) = ours(step, text), theirs(stock, text)
            pairs[reason, other] += 1
            same_text += not reason and not other and our_text == other_text
        same = sum(count for (reason, other), count in pairs.items() if bool(reason) == bool(other))
        kept = max(1, pairs["", ""])
        left = sum(count for (reason, _), count in pairs.items() if reason)
        right = sum(count for (_, other), count in pairs.items() if other)
        print(f"{title:18} {same / len(texts):14.2%} {same_text / kept:19.2%} {left:15}, {right}")
        for (reason, other), count in pairs.most_common(show):
            print(f"    {count:6} {reason or 'kept':32} {other or 'kept'}")


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
    """Print megabytes of UTF-8 per second of both sides, language by language."""
    stock = list(stock_filters().values())
    theirs(stock, "Once for what is loaded at the start. " * 30)
    print("MB per second   ours, wall clock   datatrove, wall clock   ratio of processor time")
    for language, texts in prose(data, megabytes).items():
        step = Quality()
        sides = {"ours": Side(), "theirs": Side()}
        for number, start in enumerate(range(0, len(texts), BLOCK)):
            block = texts[start : start + BLOCK]
            with sides["ours"].on(block):
                for text in block:
                    step(Document(id="", text=text, language=language), Counter())
            if language == "en" and number % 20 == 10:
                with sides["theirs"].on(block):
                    for text in block:
                        theirs(stock, text)
        line = f"{language:13} {sides['ours']:>20}"
        if sides["theirs"].megabytes:
            ratio = sides["ours"].speed / sides["theirs"].speed
            line += f" {sides['theirs']:>23} {ratio:19.0f}x"
        print(line)


@dataclass
class Side:
    """What one side has done, and the time it took."""

    megabytes: float = 0.0
    processor: float = 0.0
    wall: float = 0.0

    @contextmanager
    def on(self, texts: list[str]) -> Iterator[None]:
        """Add the texts and the time that passes."""
        self.megabytes += sum(len(text.encode()) for text in texts) / 1e6
        begun, wall = time.process_time(), time.perf_counter()
        yield
        self.processor += time.process_time() - begun
        self.wall += time.perf_counter() - wall

    @property
    def speed(self) -> float:
        """Megabytes per second of the processor."""
        return self.megabytes / self.processor

    def __format__(self, spec: str) -> str:
        return format(f"{self.speed:.2f}, {self.megabytes / self.wall:.2f}", spec)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--megabytes", type=float, default=6, help="of each language, for speed")
    parser.add_argument("--documents", type=int, default=1500, help="to judge on both sides")
    parser.add_argument("--show", type=int, default=0, help="pairs of reasons to show per set")
    given = parser.parse_args()
    speed(given.data, given.megabytes)
    agreement(variants(given.data, given.documents), given.show)


if __name__ == "__main__":
    main()
