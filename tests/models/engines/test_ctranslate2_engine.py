"""CTranslate2's engine over what the export writes, against the engine of transformers."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

from llmos.errors import ModelError, UsageError
from llmos.models.engines.ctranslate2_engine import CTranslate2Engine
from llmos.models.engines.engine import Decoding, Request, UnsupportedError
from llmos.models.engines.loading import load
from llmos.models.engines.local import LocalEngine
from llmos.models.export.exporting import export
from llmos.models.generate_batch import generate_batch

pytest.importorskip("ctranslate2")
torch.set_num_threads(1)  # over models this small, threads only wait for one another

TEXTS = ["the tree", "x", "水", "a house and a tree and a street", "bread, water 面包", "a b"]
Engines = tuple[CTranslate2Engine, LocalEngine]


@pytest.fixture(scope="module")
def engines(
    tiny: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Engines]:
    @cache
    def made(kind: str) -> Engines:
        out = tmp_path_factory.mktemp("ct2") / kind
        export(tiny(kind), "ct2", out)
        return CTranslate2Engine(out, threads=1), LocalEngine(tiny(kind))

    return made


@pytest.mark.parametrize("kind", ["gpt2", "llama", "t5"])
@pytest.mark.parametrize("beams", [1, 3])
def test_it_writes_what_transformers_writes(
    engines: Callable[[str], Engines], kind: str, beams: int
) -> None:
    fast, plain = engines(kind)
    assert (fast.kind, fast.context_length) == (plain.kind, plain.context_length)
    decoding = Decoding(max_new_tokens=20, num_beams=beams)
    requests = [Request(prompt=text, decoding=decoding) for text in TEXTS]
    found = fast.write(requests)
    loaded = load(plain.folder)
    wanted = generate_batch(
        loaded.model, loaded.words, TEXTS, max_new_tokens=20, num_beams=beams, batch_size=1
    )
    assert [piece.text for piece in found] == wanted
    if kind != "t5":  # of which the untrained one writes padding, where `LocalEngine` ends
        assert found == plain.write(requests)
    assert found[3] == fast.write(requests[3:4])[0]  # each as it would be alone


@pytest.mark.parametrize("kind", ["gpt2", "t5"])
def test_a_stream_joins_to_the_whole_text(engines: Callable[[str], Engines], kind: str) -> None:
    fast, _ = engines(kind)
    for stop in ((), ("e", "水x")):
        request = Request(prompt="a house", decoding=Decoding(max_new_tokens=12, stop=stop))
        pieces = list(fast.stream(request))
        (whole,) = fast.write([request])
        assert "".join(piece.text for piece in pieces) == whole.text
        last = pieces[-1]
        assert (last.finish, last.prompt_tokens) == (whole.finish, whole.prompt_tokens)
        assert all(mark not in whole.text for mark in stop)
    stream = fast.stream(request)
    next(stream)
    stream.close()  # type: ignore[attr-defined]


def test_a_stop_text_ends_the_writing(engines: Callable[[str], Engines]) -> None:
    fast, _ = engines("gpt2")
    (free,) = fast.write([Request(prompt="x", decoding=Decoding(max_new_tokens=20))])
    middle = free.text[len(free.text) // 2]
    decoding = Decoding(max_new_tokens=20, stop=(middle,))
    (stopped,) = fast.write([Request(prompt="x", decoding=decoding)])
    assert stopped.text == free.text[: free.text.index(middle)] and stopped.finish == "stop"
    assert stopped.new_tokens < free.new_tokens


def test_chats_are_laid_out_as_trained(engines: Callable[[str], Engines]) -> None:
    fast, plain = engines("chat")
    messages = ({"role": "user", "content": "the tree <|user|>"},)
    request = Request(messages=messages, decoding=Decoding(max_new_tokens=9))
    assert fast.write([request]) == plain.write([request])
    with pytest.raises(UnsupportedError, match="no chat template"):
        engines("gpt2")[0].write([request])


@pytest.mark.parametrize("kind", ["gpt2", "llama", "t5"])
def test_likelihoods_are_those_of_transformers(
    engines: Callable[[str], Engines], kind: str
) -> None:
    fast, plain = engines(kind)
    pairs = [
        ("the", " tree"),
        ("", "bread"),
        ("a house and a ", "street"),
        ("x", ""),
        ("a" * 99, "b"),
    ]
    for found, wanted in zip(fast.likelihoods(pairs), plain.likelihoods(pairs), strict=True):
        assert found.logprob == pytest.approx(wanted.logprob, abs=2e-3)
        assert (found.tokens, found.is_greedy) == (wanted.tokens, wanted.is_greedy)
    (piece,) = fast.write([Request(prompt="x", decoding=Decoding(max_new_tokens=1))])
    assert fast.likelihoods([("x", piece.text)])[0].is_greedy or "\ufffd" in piece.text


def test_log_probabilities_are_those_of_transformers(engines: Callable[[str], Engines]) -> None:
    request = Request(prompt="a tree", decoding=Decoding(max_new_tokens=5, logprobs=2))
    (found,), (wanted,) = (engine.write([request]) for engine in engines("gpt2"))
    assert len(found.logprobs) == len(wanted.logprobs) > 0
    for one, other in zip(found.logprobs, wanted.logprobs, strict=True):
        assert one.token == other.token and one.logprob == pytest.approx(other.logprob, abs=1e-4)
        assert [token for token, _ in one.top] == [token for token, _ in other.top]


def test_vectors_are_those_of_transformers(engines: Callable[[str], Engines]) -> None:
    fast, plain = engines("bert")
    texts = [*TEXTS, "a tree " * 99, ""]
    assert np.abs(fast.embed(texts) - plain.embed(texts)).max() < 1e-5
    assert fast.embed([]).shape[0] == 0
    with pytest.raises(UnsupportedError):
        engines("gpt2")[0].embed(["x"])


def test_sampling_stays_within_the_likeliest(engines: Callable[[str], Engines]) -> None:
    fast, _ = engines("gpt2")
    greedy = Request(prompt="the", decoding=Decoding(max_new_tokens=8))
    sampled = Request(prompt="the", decoding=Decoding(max_new_tokens=8, temperature=2.0, top_k=1))
    assert fast.write([greedy]) == fast.write([sampled])
    free = Request(prompt="the", decoding=Decoding(max_new_tokens=8, temperature=2.0))
    assert len({piece.text for piece in fast.write([free] * 6)}) > 1


def test_what_it_cannot_do_it_says(engines: Callable[[str], Engines], tmp_path: Path) -> None:
    fast, _ = engines("gpt2")
    for settings in (
        {"json_schema": {"type": "object"}},
        {"watermark": True},
        {"temperature": 1.0, "seed": 1},
        {"repetition_penalty": 1.2},
    ):
        with pytest.raises(UnsupportedError):
            fast.write([Request(prompt="x", decoding=Decoding(**settings))])  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="shorten the prompt"):
        fast.write([Request(prompt="水" * 60)])
    with pytest.raises(UsageError, match="max_new_tokens 0"):
        fast.write([Request(prompt="x", decoding=Decoding(max_new_tokens=0))])
    with pytest.raises(UnsupportedError, match="encoder"):
        engines("bert")[0].write([Request(prompt="x")])
    with pytest.raises(ModelError, match="export it again"):
        CTranslate2Engine(tmp_path)
    assert fast.labels == () and fast.count_tokens("a b") == 3
