"""Adapters over one network: each writes what its merged model writes, side by side."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM

from llmos.errors import ModelError, UsageError
from llmos.models.engines.adapted_engine import AdaptedEngine
from llmos.models.engines.engine import Decoding, Request, UnsupportedError
from llmos.models.engines.transformers_engine import TransformersEngine
from llmos.serving.opening import open_all

LAYERS = {
    "gpt2": ["c_attn", "c_proj", "c_fc"],
    "llama": ["q_proj", "v_proj", "o_proj", "up_proj", "down_proj"],
}


def write_adapter(folder: Path, base: Path, layers: list[str], seed: int, **more: object) -> Path:
    model = AutoModelForCausalLM.from_pretrained(base)
    torch.manual_seed(seed)
    settings = LoraConfig(
        r=3, lora_alpha=12, target_modules=layers, init_lora_weights=False, **more
    )
    get_peft_model(model, settings).save_pretrained(folder)
    return folder


def merged_text(base: Path, adapter: Path, folder: Path, request: Request) -> str:
    model = AutoModelForCausalLM.from_pretrained(base)
    PeftModel.from_pretrained(model, str(adapter)).merge_and_unload().save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).write_bytes((base / name).read_bytes())
    engine = TransformersEngine(folder, precision="fp32")
    try:
        return engine.write([request])[0].text
    finally:
        engine.close()


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_adapters_write_beside_each_other_what_their_merged_models_write(
    family: str, folder_of: Callable[..., Path], tmp_path: Path
) -> None:
    base = folder_of(family)
    request = Request(prompt="the tree and", decoding=Decoding(max_new_tokens=24))
    sources = {"base": str(base)}
    for seed, name in enumerate(("one", "two")):
        adapter = write_adapter(tmp_path / name, base, LAYERS[family], seed)
        sources[name] = str(adapter)
    engines = open_all(sources, 8, "fp32")
    try:
        begun = {
            name: [engine.stream(request) for _ in range(2)] for name, engine in engines.items()
        }
        firsts = {name: [next(one) for one in some] for name, some in begun.items()}
        texts = {
            name: {
                first.text + "".join(piece.text for piece in rest)
                for first, rest in zip(firsts[name], some, strict=True)
            }
            for name, some in begun.items()
        }
        assert len({text for found in texts.values() for text in found}) == 3
        for name in ("one", "two"):
            whole = merged_text(base, Path(sources[name]), tmp_path / f"{name}-whole", request)
            assert texts[name] == {whole}
    finally:
        for engine in engines.values():
            if isinstance(engine, TransformersEngine):
                engine.close()


def test_what_is_no_plain_addition_is_refused(
    folder_of: Callable[..., Path], engine_of: Callable[..., TransformersEngine], tmp_path: Path
) -> None:
    base, engine = folder_of("llama"), engine_of("llama")
    for more in ({"use_dora": True}, {"modules_to_save": ["lm_head"]}):
        adapter = write_adapter(tmp_path / next(iter(more)), base, ["q_proj"], 0, **more)
        with pytest.raises(UnsupportedError, match="merge"):
            AdaptedEngine(engine, adapter)
    with pytest.raises(ModelError, match="does not fit"):
        AdaptedEngine(engine_of("gpt2"), write_adapter(tmp_path / "q", base, ["q_proj"], 0))
    # The base is as it was, whatever was tried over it.
    request = Request(prompt="the tree", decoding=Decoding(max_new_tokens=8))
    fresh = TransformersEngine(base, slots=4, precision="fp32")
    assert engine.write([request])[0].text == fresh.write([request])[0].text
    fresh.close()


def test_an_adapter_needs_its_base_beside_it(
    folder_of: Callable[..., Path], tmp_path: Path
) -> None:
    adapter = write_adapter(tmp_path / "a", folder_of("gpt2"), ["c_attn"], 0)
    with pytest.raises(UsageError, match="together with"):
        open_all({"a": str(adapter)}, 2, "fp32")
