"""llama.cpp's engine over what the export writes, against the engine of transformers."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
import torch

from llmos.errors import ModelError, UsageError
from llmos.models.engines.engine import Decoding, Request, UnsupportedError
from llmos.models.engines.llama_cpp_engine import LlamaCppEngine
from llmos.models.engines.local import LocalEngine
from llmos.models.engines.remote import RemoteEngine
from llmos.models.export.exporting import export

pytest.importorskip("xllamacpp")
pytest.importorskip("gguf")
torch.set_num_threads(1)  # over models this small, threads only wait for one another

TEXTS = ["the tree", "x", "水", "a house and a tree and a street", "bread, water 面包", "a b"]
BROKEN = "\ufffd"  # the first bytes of a character whose last ones are not written yet
Engines = tuple[LlamaCppEngine, LocalEngine]


@pytest.fixture(scope="module")
def engines(
    tiny: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Engines]:
    @cache
    def made(kind: str) -> Engines:
        out = tmp_path_factory.mktemp("gguf") / f"{kind}.gguf"
        export(tiny(kind), "gguf", out)
        return LlamaCppEngine(out, threads=1, streams=2), LocalEngine(tiny(kind))

    return made


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_it_writes_what_transformers_writes(engines: Callable[[str], Engines], kind: str) -> None:
    fast, plain = engines(kind)
    assert (fast.kind, fast.context_length) == ("decoder", 48)
    for decoding in (Decoding(max_new_tokens=20), Decoding(max_new_tokens=99)):  # as it has room
        requests = [Request(prompt=text, decoding=decoding) for text in TEXTS]
        assert fast.write(requests) == plain.write(requests)
    decoding = Decoding(max_new_tokens=12, repetition_penalty=1.3, stop=("e",))
    requests = [Request(prompt=text, decoding=decoding) for text in TEXTS]
    texts = [[piece.text for piece in engine.write(requests)] for engine in (fast, plain)]
    assert texts[0] == texts[1]


def test_chats_are_laid_out_as_trained(engines: Callable[[str], Engines]) -> None:
    fast, plain = engines("chat")
    messages = ({"role": "user", "content": "the tree <|user|>"},)
    request = Request(messages=messages, decoding=Decoding(max_new_tokens=9))
    assert fast.write([request]) == plain.write([request])


def test_others_who_give_it_text_get_the_same(engines: Callable[[str], Engines]) -> None:
    """What Ollama and LM Studio do: llama.cpp makes the tokens, by what the file says."""
    messages = ({"role": "user", "content": "the tree"},)
    chat = Request(messages=messages, decoding=Decoding(max_new_tokens=9))
    text = Request(prompt="a house and a tree", decoding=Decoding(max_new_tokens=9))
    for kind, request in (("chat", chat), ("gpt2", text), ("llama", text)):
        fast, plain = engines(kind)
        path, body = RemoteEngine._body(fast, request)
        found = fast._service.post(path, body)
        (wanted,) = plain.write([request])
        assert found["usage"]["prompt_tokens"] == wanted.prompt_tokens
        (choice,) = found["choices"]
        written = choice["message"]["content"] if kind == "chat" else choice["text"]
        # Where one begins with a blank or a broken character, its parser of chats drops it.
        assert written.strip(BROKEN) in wanted.text


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["float16", "int8"])
def test_smaller_files_run(tiny: Callable[[str], Path], tmp_path: Path, precision: str) -> None:
    for kind in ("gpt2", "llama"):
        export(tiny(kind), "gguf", tmp_path / f"{kind}.gguf", precision)
        engine = LlamaCppEngine(tmp_path / f"{kind}.gguf", threads=1, streams=1)
        requests = [
            Request(prompt=text, decoding=Decoding(max_new_tokens=1, logprobs=1)) for text in TEXTS
        ]
        for found, wanted in zip(
            engine.write(requests), LocalEngine(tiny(kind)).write(requests), strict=True
        ):
            assert found.logprobs[0].logprob == pytest.approx(wanted.logprobs[0].logprob, abs=0.2)


def test_a_stream_joins_to_the_whole_text(engines: Callable[[str], Engines]) -> None:
    fast, _ = engines("gpt2")
    request = Request(prompt="a house", decoding=Decoding(max_new_tokens=12))
    pieces = list(fast.stream(request))
    (whole,) = fast.write([request])
    # A character that is not whole at the end llama.cpp leaves out of a stream.
    assert "".join(piece.text for piece in pieces).rstrip(BROKEN) == whole.text.rstrip(BROKEN)
    assert (pieces[-1].finish, pieces[-1].prompt_tokens) == (whole.finish, whole.prompt_tokens)


@pytest.mark.parametrize("kind", ["gpt2", "chat"])
def test_a_schema_is_followed_in_prompts_and_chats(
    engines: Callable[[str], Engines], kind: str
) -> None:
    decoding = Decoding(max_new_tokens=30, json_schema={"enum": ["tree", "street"]})
    asked: dict[str, object] = {"prompt": "the"}
    if kind == "chat":
        asked = {"messages": ({"role": "user", "content": "the"},)}
    (piece,) = engines(kind)[0].write([Request(decoding=decoding, **asked)])  # type: ignore[arg-type]
    assert json.loads(piece.text) in ("tree", "street")


def test_it_says_that_it_gives_no_vectors(engines: Callable[[str], Engines]) -> None:
    with pytest.raises(UnsupportedError, match="gives no vectors"):
        engines("gpt2")[0].embed(["x"])


def test_sampling_repeats_with_a_seed(engines: Callable[[str], Engines]) -> None:
    fast, _ = engines("gpt2")
    decoding = Decoding(max_new_tokens=12, temperature=1.5, seed=3)
    found = {fast.write([Request(prompt="the", decoding=decoding)])[0].text for _ in range(3)}
    assert len(found) == 1


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_log_probabilities_are_nearly_those_of_transformers(
    engines: Callable[[str], Engines], kind: str
) -> None:
    requests = [
        # Of later tokens, which are parts of characters here, llama.cpp tells several as one.
        Request(prompt=text, decoding=Decoding(max_new_tokens=1, logprobs=2))
        for text in TEXTS
    ]
    for found, wanted in zip(*(engine.write(requests) for engine in engines(kind)), strict=True):
        (one,), (other,) = found.logprobs, wanted.logprobs
        # It looks up GELU in a table of 16 bits.
        assert one.logprob == pytest.approx(other.logprob, abs=5e-3)
        assert [value for _, value in one.top] == pytest.approx([v for _, v in other.top], abs=5e-3)


def test_what_it_cannot_do_it_says(engines: Callable[[str], Engines], tmp_path: Path) -> None:
    fast, plain = engines("gpt2")
    for decoding in (Decoding(num_beams=2), Decoding(watermark=True)):
        with pytest.raises(UnsupportedError):
            fast.write([Request(prompt="x", decoding=decoding)])
    with pytest.raises(UnsupportedError, match="log-probabilities"):
        fast.likelihoods([("a", " b")])
    with pytest.raises(UnsupportedError):
        fast.embed(["x"])
    with pytest.raises(UsageError, match="shorten the prompt"):
        fast.write([Request(prompt="水" * 60)])
    with pytest.raises(ModelError, match="is no file"):
        LlamaCppEngine(tmp_path / "none.gguf")
    (tmp_path / "bad.gguf").write_bytes(b"no")
    with pytest.raises(ModelError, match="no GGUF file"):
        LlamaCppEngine(tmp_path / "bad.gguf")
    assert fast.count_tokens("a b") == plain.count_tokens("a b")
