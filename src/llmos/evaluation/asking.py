"""Ask a model the items of a benchmark: by a task, by likelihood, or by what it writes.

Where an engine tells no likelihoods, a choice is made by what it writes; where it takes no bare
prompts, it is asked in a chat. How it was done stands in the result.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from llmos.errors import UsageError
from llmos.evaluation.items import Answer, Item
from llmos.evaluation.suites import Benchmark
from llmos.models.engines.engine import Decoding, Engine, Piece, Request, UnsupportedError
from llmos.storage import sha256_hex
from llmos.tasks import TASKS
from llmos.tasks.coding import only_code
from llmos.tasks.running import run
from llmos.tasks.task import Options

LIKELIHOOD, PROMPT, CHAT = "likelihood", "prompt", "chat"
CONTEXT_CHARACTERS = 8
"""Characters of context that are handed over for each token of the window; it is filled where
tokens are shorter on average."""
_INSTRUCTION = "{context}\n\nAnswer with one of these, and nothing else:\n{choices}"

Asked = tuple[list[Answer], str]
"""The answers, and how they were got."""


def ask(engine: Engine, benchmark: Benchmark, items: Sequence[Item], seed: int) -> Asked:
    """The answer of the model to each item, in their order.

    Raises `UnsupportedError` for what the model cannot do.
    """
    return _WAYS.get(benchmark.task, _task)(engine, benchmark, items, seed)


def _task(engine: Engine, benchmark: Benchmark, items: Sequence[Item], seed: int) -> Asked:
    options = Options(language=benchmark.ask_in, decoding=_settings(benchmark, seed))
    found = run(TASKS[benchmark.task], engine, [item.inputs for item in items], options)
    return [Answer(one.text) for one in found], found[0].how if found else ""


def _completion(engine: Engine, benchmark: Benchmark, items: Sequence[Item], seed: int) -> Asked:
    decoding = Decoding(**_settings(benchmark, seed))
    pieces, how = _written(engine, [item.inputs["prompt"] for item in items], [decoding])
    return [Answer(some[0].text) for some in pieces], how


def _written(
    engine: Engine, prompts: Sequence[str], decodings: Sequence[Decoding]
) -> tuple[list[list[Piece]], str]:
    """What the model writes for each prompt, once by each of `decodings`."""
    plain = [Request(prompt=text, decoding=_own(d, text)) for text in prompts for d in decodings]
    how = PROMPT
    try:
        pieces = engine.write(plain)
    except UnsupportedError:
        how = CHAT
        turns = [({"role": "user", "content": str(one.prompt)},) for one in plain]
        pieces = engine.write(
            [replace(r, prompt="", messages=m) for r, m in zip(plain, turns, strict=True)]
        )
    n = len(decodings)
    return [pieces[at * n : at * n + n] for at in range(len(prompts))], how


def _own(decoding: Decoding, prompt: str) -> Decoding:
    """With a seed of its own for each prompt, whatever the order of the prompts."""
    if decoding.seed is None or decoding.temperature == 0:
        return decoding
    return replace(
        decoding, seed=(int(sha256_hex(prompt.encode())[:8], 16) + decoding.seed) % 2**31
    )


def _choice(engine: Engine, benchmark: Benchmark, items: Sequence[Item], seed: int) -> Asked:
    pairs = [(item.inputs["context"], _behind(item, c)) for item in items for c in item.choices]
    try:
        found = iter(engine.likelihoods(pairs))
    except UnsupportedError as error:
        answers, how = _said(engine, benchmark, items, seed)
        return answers, f"{how}: {error}"
    answers = []
    for item in items:
        # The first of the likeliest, as lm-eval's argmax has it.
        values = [
            next(found).logprob / (len(choice.encode()) if benchmark.per_byte else 1)
            for choice in item.choices
        ]
        answers.append(Answer(item.choices[values.index(max(values))]))
    return answers, LIKELIHOOD


def _behind(item: Item, choice: str) -> str:
    """A choice as it goes on from the context, with a blank in between (lm-eval's default)."""
    return choice if item.inputs["context"].endswith((" ", "\n")) else f" {choice}"


def _said(engine: Engine, benchmark: Benchmark, items: Sequence[Item], seed: int) -> Asked:
    """The choice that the model names first; "" where it names none."""
    prompts = [
        _INSTRUCTION.format(context=item.inputs["context"], choices="\n".join(item.choices))
        for item in items
    ]
    pieces, how = _written(engine, prompts, [Decoding(**_settings(benchmark, seed))])
    return [
        Answer(named_first(some[0].text, item.choices))
        for some, item in zip(pieces, items, strict=True)
    ], how


def named_first(text: str, choices: Sequence[str]) -> str:
    """The choice that stands first in a text, as a word of its own; of two the longer one."""
    places = []
    for choice in choices:
        found = re.search(
            rf"(?<![a-z0-9]){re.escape(choice.casefold())}(?![a-z0-9])", text.casefold()
        )
        if found:
            places.append((found.start(), -len(choice), choice))
    return min(places, default=(0, 0, ""))[2]


def _perplexity(engine: Engine, benchmark: Benchmark, items: Sequence[Item], seed: int) -> Asked:
    del benchmark, seed
    if engine.kind != "decoder":
        raise UnsupportedError(f"{engine.name} is no decoder, which alone predicts a text in order")
    pairs, sizes = [], []
    for item in items:
        pieces = pairs_of(engine, item.inputs.get("before", ""), item.inputs["text"])
        pairs += pieces
        sizes.append(len(pieces))
    found = iter(engine.likelihoods(pairs))
    answers = []
    for item, size in zip(items, sizes, strict=True):
        some = [next(found) for _ in range(size)]
        nats, tokens = -sum(one.logprob for one in some), sum(one.tokens for one in some)
        answers.append(Answer("", (nats, float(tokens), float(len(item.inputs["text"].encode())))))
    return answers, LIKELIHOOD


def pairs_of(engine: Engine, before: str, text: str) -> list[tuple[str, str]]:
    """A text as (context, continuation), each continuation at most half of the window, so that the
    other half is left for context. The continuations together are the text."""
    window = engine.context_length or 2048
    pairs = []
    for piece in _cut(text, lambda part: engine.count_tokens(part) <= window // 2):
        pairs.append((before[-CONTEXT_CHARACTERS * window :], piece))
        before += piece
    return pairs


def _cut(text: str, fits: Callable[[str], bool]) -> list[str]:
    if len(text) < 2 or fits(text):
        return [text]
    # At the blank next to the middle, which goes with what follows it.
    blanks = [found.start() for found in re.finditer(r"(?<=\S)\s", text)]
    middle = len(text) // 2
    at = min(blanks, key=lambda place: abs(place - middle), default=middle)
    return _cut(text[:at], fits) + _cut(text[at:], fits)


def _programs(engine: Engine, benchmark: Benchmark, items: Sequence[Item], seed: int) -> Asked:
    from llmos.evaluation.sandbox.run import run_all

    base = Decoding(**_settings(benchmark, seed))
    if benchmark.samples > 1 and base.temperature == 0:
        raise UsageError(
            f"benchmark {benchmark.name!r}: {benchmark.samples} samples at temperature 0 are all "
            "alike: set decoding.temperature"
        )
    decodings = [replace(base, seed=seed + number) for number in range(benchmark.samples)]
    pieces, how = _written(engine, [item.inputs["prompt"] for item in items], decodings)
    programs = [
        _program(item, piece.text, how)
        for item, some in zip(items, pieces, strict=True)
        for piece in some
    ]
    passed = iter(one.status == "ok" for one in run_all(programs, timeout=benchmark.seconds))
    return [
        Answer(some[0].text, (float(len(some)), float(sum(next(passed) for _ in some))))
        for some in pieces
    ], how


def _program(item: Item, text: str, how: str) -> str:
    """In a chat, only the code of an answer counts; it stands on lines of its own."""
    code = "\n" + only_code(text, {"language": ""})[0] if how == CHAT else text
    return item.program[0] + code + item.program[1]


def _settings(benchmark: Benchmark, seed: int) -> dict[str, Any]:
    """The benchmark's settings of `Decoding`, and the seed."""
    found = {"seed": seed, **benchmark.decoding}
    return {name: tuple(v) if isinstance(v, list) else v for name, v in found.items()}


_WAYS: dict[str, Callable[[Engine, Benchmark, Sequence[Item], int], Asked]] = {
    "choice": _choice,
    "completion": _completion,
    "perplexity": _perplexity,
    "programs": _programs,
}
