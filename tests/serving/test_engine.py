"""Many texts at once are those that transformers writes one by one."""

from __future__ import annotations

import json
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM, OPTConfig, Qwen3Config

from llmos.errors import ModelError, UsageError
from llmos.models.engines.engine import Decoding, Piece, Request, UnsupportedError
from llmos.models.engines.networks import AnyNetwork, GPT2Network, LlamaNetwork, network_of
from llmos.models.engines.scheduler import BusyError, ClosedError
from llmos.models.engines.slots import DecoderSlots
from llmos.models.engines.transformers_engine import TransformersEngine
from llmos.models.watermark import detect, watermark

PROMPTS = ["the tree", "", "水", "a house and a tree and a street " * 3, "bread, water 面包", "x"]
Engines = Callable[..., TransformersEngine]


def by_transformers(folder: Path, family: str, ids: list[int], new: int, **options: Any) -> Any:
    kind = AutoModelForSeq2SeqLM if family == "t5" else AutoModelForCausalLM
    model = kind.from_pretrained(folder)
    words = model.generation_config
    found = model.generate(
        input_ids=torch.tensor([ids]),
        attention_mask=torch.ones(1, len(ids), dtype=torch.long),
        max_new_tokens=new,
        pad_token_id=words.pad_token_id,
        **({"do_sample": False} | options),
    )[0].tolist()
    return found[1:] if family == "t5" else found[len(ids) :]


@pytest.mark.parametrize("family", ["gpt2", "llama", "t5"])
def test_greedy_text_is_that_of_transformers(
    engine_of: Engines, folder_of: Callable[..., Path], family: str
) -> None:
    engine = engine_of(family)
    decoding = Decoding(max_new_tokens=20)
    found = engine.write([Request(prompt=prompt, decoding=decoding) for prompt in PROMPTS])
    decode = engine._loaded.words.tokenizer.decode
    for prompt, piece in zip(PROMPTS, found, strict=True):
        ids = engine.prompt_tokens(Request(prompt=prompt))
        expected = by_transformers(folder_of(family), family, ids, 20)
        assert piece.text == decode(expected, skip_special_tokens=True)
        assert (piece.prompt_tokens, piece.new_tokens) == (len(ids), len(expected))
        streamed = list(engine.stream(Request(prompt=prompt, decoding=decoding)))
        assert "".join(part.text for part in streamed) == piece.text
        assert streamed[-1].finish == piece.finish != ""


SIZES = {
    "vocab_size": 100,
    "max_position_embeddings": 400,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
}
KIN = {
    "qwen3": Qwen3Config(**SIZES, num_key_value_heads=2, intermediate_size=64, head_dim=8),
    "opt": OPTConfig(**SIZES, ffn_dim=64, word_embed_proj_dim=32),
}


@pytest.mark.parametrize("family", [*KIN])
def test_a_family_that_is_not_written_out(family: str) -> None:
    """Prompts longer than a chunk, shorter ones, more texts than slots."""
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(KIN[family]).eval()
    prompts = [torch.randint(5, 90, (size,)).tolist() for size in (5, 300, 1, 17, 33)]
    expected = [
        model.generate(
            torch.tensor([p]), max_new_tokens=8, do_sample=False, eos_token_id=None, pad_token_id=1
        )[0, len(p) :].tolist()
        for p in prompts
    ]
    network = network_of(model, torch.float32)
    assert isinstance(network, AnyNetwork)
    slots = DecoderSlots(network, 3, 400, torch.device("cpu"))
    waiting, running = [*enumerate(prompts)], dict[int, int]()
    written: dict[int, list[int]] = {number: [] for number, _ in waiting}
    tokens: dict[int, int] = {}
    while waiting or running:
        while waiting and len(running) < slots.size:
            number, prompt = waiting.pop(0)
            running[slots.begin(prompt)] = number
        keys, logits = slots.step(tokens)
        tokens = {}
        for key, row in zip(keys, logits, strict=True):
            token = int(row.argmax())
            written[running[key]].append(token)
            if len(written[running[key]]) == 8:
                slots.free(key)
                del running[key]
            else:
                tokens[key] = token
    assert [*written.values()] == expected


def test_in_bf16_a_text_is_the_same_alone_and_among_others(
    folder_of: Callable[..., Path],
) -> None:
    """Places of the cache that nobody has written to are masked, and must not be NaN either."""
    engine = TransformersEngine(folder_of("gpt2"), slots=4, precision="bf16")
    assert engine.precision == "bf16"
    slots: Any = engine._scheduler._slots  # type: ignore[union-attr]
    assert not any(cache.any() for cache in (*slots.keys, *slots.values))
    requests = [Request(prompt=p, decoding=Decoding(max_new_tokens=20)) for p in PROMPTS]
    together = [piece.text for piece in engine.write(requests)]
    assert [engine.write([request])[0].text for request in requests] == together
    engine.close()


def test_which_networks_are_written_out(engine_of: Engines) -> None:
    for family, kind in (("gpt2", GPT2Network), ("llama", LlamaNetwork)):
        assert isinstance(network_of(engine_of(family)._loaded.model, torch.float32), kind)


def test_a_seed_repeats_a_text_whatever_else_is_written(engine_of: Engines) -> None:
    engine = engine_of("gpt2")
    decoding = Decoding(max_new_tokens=16, temperature=1.5, top_p=0.9, top_k=50, seed=7)
    alone = engine.write([Request(prompt="the", decoding=decoding)])[0].text
    crowd = [
        Request(prompt=p, decoding=replace(decoding, seed=n, max_new_tokens=5 + n))
        for n, p in enumerate(PROMPTS)
    ]
    among = engine.write([*crowd, Request(prompt="the", decoding=decoding), *crowd])
    assert among[len(crowd)].text == alone
    assert len({piece.text for piece in among}) > 3


def test_samples_come_as_often_as_the_model_says(engine_of: Engines) -> None:
    """The first token of 600 texts against its probabilities: chi-square over the likeliest."""
    engine = engine_of("llama")
    ids = engine.prompt_tokens(Request(prompt="the"))
    with torch.no_grad():
        logits = engine._loaded.model(torch.tensor([ids])).logits[0, -1] / 0.7
    likely = logits.softmax(-1).topk(4)
    wanted = dict(
        zip(likely.indices.tolist(), (likely.values / likely.values.sum()).tolist(), strict=True)
    )
    requests = [
        Request(
            prompt="the",
            decoding=Decoding(max_new_tokens=1, temperature=0.7, top_k=4, seed=n, logprobs=0),
        )
        for n in range(600)
    ]
    decode = engine._loaded.words.tokenizer.decode
    names = {decode([token], skip_special_tokens=False): p for token, p in wanted.items()}
    found = [piece.logprobs[0].token for piece in engine.write(requests) if piece.logprobs]
    counts = {name: found.count(name) for name in names}
    assert sum(counts.values()) >= len(found) - 1 > 300
    chi = sum((counts[n] - 600 * p) ** 2 / (600 * p) for n, p in names.items())
    assert chi < 21  # 3 degrees of freedom: p = 1e-4


@pytest.mark.parametrize("penalty", [1.0, 1.3])
def test_repetition_penalty_is_transformers(
    engine_of: Engines, folder_of: Callable[..., Path], penalty: float
) -> None:
    engine = engine_of("llama")
    ids = tuple(engine.prompt_tokens(Request(prompt="the tree and")))
    decoding = Decoding(max_new_tokens=12, repetition_penalty=penalty)
    (piece,) = engine.write([Request(prompt=ids, decoding=decoding)])
    expected = by_transformers(folder_of("llama"), "llama", [*ids], 12, repetition_penalty=penalty)
    decode = engine._loaded.words.tokenizer.decode
    assert piece.text == decode(expected, skip_special_tokens=True)


def test_a_presence_penalty_hinders_repeats(engine_of: Engines) -> None:
    engine = engine_of("gpt2")
    free, hindered = engine.write(
        [
            Request(prompt="the", decoding=Decoding(max_new_tokens=30, presence_penalty=value))
            for value in (-2.0, 2.0)
        ]
    )
    count = engine._loaded.words.encode
    assert len(set(count(free.text))) < len(set(count(hindered.text)))


def test_log_probabilities_are_the_model_s(engine_of: Engines) -> None:
    engine = engine_of("gpt2")
    decoding = Decoding(max_new_tokens=6, logprobs=3, temperature=2, seed=1)
    (piece,) = engine.write([Request(prompt="the", decoding=decoding)])
    plain = Decoding(max_new_tokens=6, logprobs=3)
    (greedy,) = engine.write([Request(prompt="the", decoding=plain)])
    (expected,) = super(TransformersEngine, engine).write([Request(prompt="the", decoding=plain)])
    assert [t.token for t in greedy.logprobs][:-1] == [t.token for t in expected.logprobs][:-1]
    for one, other in zip(greedy.logprobs, expected.logprobs, strict=False):
        assert one.logprob == pytest.approx(other.logprob, abs=1e-4)
        assert [v for _, v in one.top] == pytest.approx([v for _, v in other.top], abs=1e-4)
    assert len(piece.logprobs) in (piece.new_tokens, piece.new_tokens - 1)


def test_a_stop_text_ends_and_is_never_shown(engine_of: Engines) -> None:
    engine = engine_of("gpt2")
    (whole,) = engine.write([Request(prompt="the", decoding=Decoding(max_new_tokens=30))])
    for stop in {whole.text[2:4], whole.text[5:9], whole.text[-3:]} - {""}:
        request = Request(prompt="the", decoding=Decoding(max_new_tokens=30, stop=(stop, "\0")))
        pieces = list(engine.stream(request))
        assert "".join(p.text for p in pieces) == whole.text[: whole.text.index(stop)]
        assert pieces[-1].finish == "stop"


SCHEMA = {
    "type": "object",
    "properties": {"name": {"enum": ["a", "bc"]}, "n": {"type": "integer", "maximum": 9}},
    "required": ["name", "n"],
    "additionalProperties": False,
}


@pytest.mark.parametrize("temperature", [0.0, 1.5])
@pytest.mark.parametrize("family", ["gpt2", "t5"])
def test_a_schema_is_kept(engine_of: Engines, family: str, temperature: float) -> None:
    pytest.importorskip("llguidance")
    decoding = Decoding(max_new_tokens=60, json_schema=SCHEMA, temperature=temperature, seed=3)
    for piece in engine_of(family).write([Request(prompt="the", decoding=decoding)] * 3):
        found = json.loads(piece.text)
        assert found["name"] in ("a", "bc") and found["n"] <= 9 and len(found) == 2
        assert piece.finish == "stop"


def test_a_schema_that_cannot_be_followed(engine_of: Engines) -> None:
    pytest.importorskip("llguidance")
    decoding = Decoding(json_schema={"type": "nonsense"})
    with pytest.raises(UsageError, match="schema"):
        engine_of("gpt2").write([Request(prompt="the", decoding=decoding)])


def test_a_watermark_is_found_and_only_there(engine_of: Engines) -> None:
    engine = engine_of("gpt2")
    requests = [
        Request(
            prompt="the",
            decoding=Decoding(max_new_tokens=100, temperature=1.5, seed=2, watermark=marked),
        )
        for marked in (True, False)
    ]
    size = engine._size
    with_mark, without = (
        detect(engine._loaded.words.encode(piece.text), size) for piece in engine.write(requests)
    )
    assert with_mark.z > 3.5 > 2.5 > without.z
    assert with_mark.p < 1e-3 < without.p


def test_the_detector_counts_as_transformers_does() -> None:
    from transformers import WatermarkDetector

    torch.manual_seed(0)
    ids, size = torch.randint(0, 300, (80,)), 300
    detector = WatermarkDetector.__new__(WatermarkDetector)
    detector.processor, detector.greenlist_ratio = watermark(size), 0.25
    is_green = {
        (int(a), int(b)): int(b) in detector.processor._get_greenlist_ids(a[None])
        for a, b in pairwise(ids)
    }
    found = detect(ids.tolist(), size)
    assert (found.tokens, found.green) == (len(is_green), sum(is_green.values()))
    assert found.z == pytest.approx(detector._compute_z_score(found.green, found.tokens))
    assert found.p == pytest.approx(detector._compute_pval(found.z), rel=0.02)
    with pytest.raises(UsageError, match="too few"):
        detect([1, 2, 3], size)


def test_a_closed_stream_frees_its_slot(engine_of: Engines) -> None:
    engine = engine_of("gpt2")
    forever = Decoding(max_new_tokens=100, temperature=2.0)
    for _ in range(3 * 4):
        stream = engine.stream(Request(prompt="the", decoding=forever))
        next(stream)
        stream.close()  # type: ignore[attr-defined]
    assert engine.write([Request(prompt="x", decoding=Decoding(max_new_tokens=2))])[0].finish
    assert engine.running == 0


def test_threads_share_the_engine(engine_of: Engines) -> None:
    engine = engine_of("llama")
    decoding = Decoding(max_new_tokens=10)
    alone = {p: engine.write([Request(prompt=p, decoding=decoding)])[0].text for p in PROMPTS}
    found: dict[str, str] = {}

    def one(prompt: str) -> None:
        pieces: Iterator[Piece] = engine.stream(Request(prompt=prompt, decoding=decoding))
        found[prompt] = "".join(piece.text for piece in pieces)

    threads = [threading.Thread(target=one, args=(prompt,)) for prompt in PROMPTS]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == alone


def test_beams_are_transformers(engine_of: Engines, folder_of: Callable[..., Path]) -> None:
    engine = engine_of("t5")
    (piece,) = engine.write(
        [Request(prompt="the tree", decoding=Decoding(max_new_tokens=10, num_beams=4))]
    )
    ids = engine.prompt_tokens(Request(prompt="the tree"))
    expected = by_transformers(folder_of("t5"), "t5", ids, 10, num_beams=4)
    decode = engine._loaded.words.tokenizer.decode
    assert piece.text == decode(expected, skip_special_tokens=True)


def test_what_does_not_fit(engine_of: Engines) -> None:
    engine = engine_of("gpt2")
    with pytest.raises(UsageError, match="context 128"):
        engine.write([Request(prompt="tree " * 200)])
    with pytest.raises(UsageError, match="temperature 101"):
        engine.write([Request(prompt="x", decoding=Decoding(temperature=101))])
    with pytest.raises(UsageError, match="token 999999"):
        engine.write([Request(prompt=(999999,))])
    with pytest.raises(UnsupportedError, match="encoder"):
        engine_of("bert").write([Request(prompt="x")])
    with pytest.raises(UnsupportedError, match="chat template"):
        engine.write([Request(messages=({"role": "user", "content": "x"},))])


def test_too_many_wait_and_then_it_closes(folder_of: Callable[..., Path]) -> None:
    engine = TransformersEngine(folder_of("gpt2"), slots=1, waiting=1)
    forever = Request(prompt="the", decoding=Decoding(max_new_tokens=100, temperature=2.0))
    told: list[Any] = []
    with pytest.raises(BusyError, match="wait already"):
        for _ in range(50):
            engine.submit(forever, told.append)
    engine.close()
    with pytest.raises(ClosedError):
        engine.submit(forever, told.append)
    ends = [piece for piece in told if isinstance(piece, ClosedError) or piece.finish]
    assert ends


def test_weights_that_changed_behind_an_engine_are_not_mixed_with_its_own(
    folder_of: Callable[..., Path], tmp_path: Path
) -> None:
    """In bf16 the float32 weights are given back, and read again for likelihoods."""
    folder = shutil.copytree(folder_of("gpt2"), tmp_path / "model")
    engine = TransformersEngine(folder, slots=2, precision="bf16")
    try:
        before = engine.likelihoods([("the tree", " and")])
        assert before == TransformersEngine(folder, precision="fp32").likelihoods(
            [("the tree", " and")]
        )
        engine._loaded.forget_model()
        os.utime(folder / "model.safetensors", ns=(1, 1))
        with pytest.raises(ModelError, match="has been changed since it was opened"):
            engine.likelihoods([("the tree", " and")])
        assert engine.write([Request(prompt="the", decoding=Decoding(max_new_tokens=2))])
    finally:
        engine.close()
