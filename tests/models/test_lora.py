"""Low-rank additions and frozen weights: peft's own numbers, merged back, saved alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import peft
import pytest
import torch
from safetensors.numpy import load_file
from torch import nn

from llmos.errors import ProtocolError, RecipeError
from llmos.models.arrays import get_weights, layout_of, set_weights, trained
from llmos.models.families import build_model
from llmos.models.frozen import frozen, get_frozen, set_frozen
from llmos.models.lora import adapt, low_rank_sum, merged, save_adapter
from llmos.models.vocabulary import Vocabulary, train_tokenizer
from llmos.recipe import ModelSection, Recipe

torch.set_num_threads(1)  # over models this small, threads only wait for one another

HEADS_OF = [
    ("gpt2", "causal_lm"),
    ("gpt2", "classification"),
    ("llama", "causal_lm"),
    ("bert", "masked_lm"),
    ("bert", "extractive_qa"),
    ("t5", "seq2seq"),
]
WHOLE = {
    "classification": ("score.weight",),
    "extractive_qa": ("qa_outputs.bias", "qa_outputs.weight"),
}
LORA: dict[str, Any] = {"training.method": "lora", "lora.rank": 3, "lora.alpha": 12.0}


def words_of(family: str) -> Vocabulary:
    objective = {"bert": "masked_lm", "t5": "seq2seq"}.get(family, "causal_lm")
    values = {
        "model.family": family,
        "objective.name": objective,
        "tokenizer.vocabulary_size": 360 if family == "t5" else 260,
    }
    return Vocabulary.of(
        train_tokenizer({"abab": 9, "cdcdcdcd": 8}, Recipe(name="x").with_values(values))
    )


WORDS = {family: words_of(family) for family in ("gpt2", "llama", "bert", "t5")}


def build(family: str = "gpt2", head: str = "causal_lm", seed: int = 5) -> Any:
    section = ModelSection(
        family=family, num_layers=2, num_heads=2, hidden_size=16, context_length=24
    )
    return build_model(section, WORDS[family], seed, head=head)


def recipe(**changes: Any) -> Recipe:
    return Recipe(name="x", seed=3).with_values(
        {k.replace("__", "."): v for k, v in changes.items()}
    )


def lora(**changes: Any) -> Recipe:
    return recipe(**LORA).with_values({k.replace("__", "."): v for k, v in changes.items()})


def shaken(model: Any) -> Any:
    """The model with other trained weights, as training leaves them."""
    draw = np.random.default_rng(8)
    weights = get_weights(model)
    set_weights(model, (weights + draw.standard_normal(len(weights)) / 5).astype(np.float32))
    return model


def outputs(model: Any) -> torch.Tensor:
    ids = torch.arange(100, 120).reshape(2, 10)
    more = {"decoder_input_ids": ids} if model.config.is_encoder_decoder else {}
    with torch.no_grad():
        found = model.eval()(input_ids=ids, **more)
    parts = ("logits", "start_logits", "end_logits")
    return torch.cat([found[part].flatten() for part in parts if part in found])


@pytest.mark.parametrize(("family", "head"), HEADS_OF)
def test_at_first_nothing_changes_and_the_seed_decides(family: str, head: str) -> None:
    plain = build(family, head)
    torch.manual_seed(1)
    state = torch.get_rng_state()
    model = adapt(build(family, head), lora(), WHOLE.get(head, ()))
    assert torch.equal(torch.get_rng_state(), state)
    assert type(model) is type(plain)
    assert torch.equal(outputs(model), outputs(plain))
    again = adapt(build(family, head), lora(), WHOLE.get(head, ()))
    other = adapt(build(family, head), lora(seed=4), WHOLE.get(head, ()))
    assert get_weights(again).tobytes() == get_weights(model).tobytes()
    assert get_weights(other).tobytes() != get_weights(model).tobytes()


@pytest.mark.parametrize(("family", "head"), HEADS_OF)
def test_all_linear_layers_but_the_output_get_additions(family: str, head: str) -> None:
    plain = build(family, head)
    output = plain.get_output_embeddings()
    linear = {
        name
        for name, module in plain.named_modules()
        if type(module).__name__ in ("Linear", "Conv1D")
        and module is not output
        and f"{name}.weight" not in WHOLE.get(head, ())
    }
    model = adapt(build(family, head), lora(), WHOLE.get(head, ()))
    factors = {f"{n}.lora_{f}.default.weight" for n in linear for f in "AB"}
    assert set(trained(model)) == factors | set(WHOLE.get(head, ()))
    for name, parameter in trained(model).items():
        layer = plain.get_submodule(name.partition(".lora_")[0]) if ".lora_" in name else None
        if layer is not None:
            inputs, outs = layer.weight.shape
            if isinstance(layer, nn.Linear):
                inputs, outs = outs, inputs
            expected = (3, inputs) if ".lora_A" in name else (outs, 3)
            assert tuple(parameter.shape) == expected, name


@pytest.mark.parametrize(("family", "head"), HEADS_OF)
def test_merged_it_is_the_plain_model_that_peft_merges(family: str, head: str) -> None:
    model = shaken(adapt(build(family, head), lora(), WHOLE.get(head, ())))
    before = get_weights(model).tobytes()
    plain = merged(model)
    assert type(plain) is type(model)
    assert list(plain.state_dict()) == list(build(family, head).state_dict())
    torch.testing.assert_close(outputs(plain), outputs(model), rtol=1e-4, atol=1e-5)
    assert float((outputs(plain) - outputs(build(family, head))).abs().max()) > 0.05
    assert get_weights(model).tobytes() == before  # it can be trained further
    for _, layer in model.named_modules():
        if isinstance(layer, peft.tuners.lora.LoraLayer):
            layer.merge()
    for name, values in model.state_dict().items():
        if ".base_layer." in name:
            found = plain.state_dict()[name.replace(".base_layer.", ".")]
            torch.testing.assert_close(found, values, rtol=1e-5, atol=1e-6)
    assert merged(plain) is plain


def test_a_sum_of_low_rank_is_elementwise_in_order() -> None:
    draw = np.random.default_rng(1)
    a, b = (draw.standard_normal(s).astype(np.float32) for s in ((4, 7), (5, 4)))
    found = low_rank_sum(a, b, 2.5)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, 2.5 * b.astype(np.float64) @ a, rtol=1e-5)
    scaled = b * np.float32(2.5)
    for row in range(5):
        for column in range(7):
            total = np.float32(0)
            for k in range(4):
                total = np.float32(total + np.float32(scaled[row, k] * a[k, column]))
            assert found[row, column] == total


@pytest.mark.parametrize(("family", "head"), HEADS_OF)
def test_saved_alone_peft_puts_it_onto_the_base(family: str, head: str, tmp_path: Path) -> None:
    whole = WHOLE.get(head, ())
    settings = lora(model__base="somebody/base")
    model = shaken(adapt(build(family, head), settings, whole))
    save_adapter(model, tmp_path, settings)
    loaded = peft.PeftModel.from_pretrained(build(family, head), str(tmp_path))
    assert torch.equal(outputs(loaded), outputs(model))
    size = (tmp_path / "adapter_model.safetensors").stat().st_size
    arrays = load_file(tmp_path / "adapter_model.safetensors")
    assert sum(a.size for a in arrays.values()) == layout_of(model).size
    assert size < 4 * layout_of(model).size + 20_000
    config = json.loads((tmp_path / "adapter_config.json").read_bytes())
    assert config["base_model_name_or_path"] == "somebody/base"
    assert config["modules_to_save"] == (sorted({n.rpartition(".")[0] for n in whole}) or None)
    assert (config["r"], config["lora_alpha"], config["fan_in_fan_out"]) == (
        3,
        12,
        family == "gpt2",
    )
    if family == "gpt2":
        assert config["target_modules"] == ["c_attn", "c_fc", "c_proj"]
    first = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    save_adapter(model, tmp_path / "again", settings)
    assert {path.name: path.read_bytes() for path in (tmp_path / "again").iterdir()} == first


def test_embeddings_go_with_it_where_tokens_were_added(tmp_path: Path) -> None:
    model = build("llama")
    model.resize_token_embeddings(270)
    model = shaken(adapt(model, lora()))
    save_adapter(model, tmp_path, lora(objective__name="instruction"))
    base = build("llama")
    base.resize_token_embeddings(270)  # draws the new rows anew
    assert not torch.equal(base.lm_head.weight, model.lm_head.weight)
    loaded = peft.PeftModel.from_pretrained(base, str(tmp_path))
    assert torch.equal(outputs(loaded), outputs(model))


def test_dropout_is_the_recipes() -> None:
    model = shaken(adapt(build(), lora(lora__dropout=0.5)))
    ids = torch.arange(100, 120).reshape(2, 10)
    assert torch.equal(model.eval()(ids).logits, model(ids).logits)
    assert not torch.equal(model.train()(ids).logits, model(ids).logits)


def test_named_targets_alone_get_additions(tmp_path: Path) -> None:
    model = adapt(build("bert", "masked_lm"), lora(lora__targets=["query", "output.dense"]))
    layers = {name.partition(".lora_")[0] for name in trained(model)}
    assert layers == {
        f"bert.encoder.layer.{n}.{end}"
        for n in (0, 1)
        for end in ("attention.self.query", "attention.output.dense", "output.dense")
    }
    save_adapter(model, tmp_path, lora())
    base = build("bert", "masked_lm")
    loaded = peft.PeftModel.from_pretrained(base, str(tmp_path))
    assert torch.equal(outputs(loaded), outputs(model))


@pytest.mark.parametrize(
    ("target", "like"), [("c_atn", "c_attn"), ("lm_head", ""), ("wte", ""), ("h", "")]
)
def test_targets_that_are_no_layers_are_refused(target: str, like: str) -> None:
    with pytest.raises(RecipeError, match=f"lora.targets has '{target}', which fits no") as caught:
        adapt(build(), lora(lora__targets=["c_fc", target]))
    assert f"such as '{like}" in str(caught.value)


# Frozen weights


def test_frozen_weights_stay_and_the_rest_is_trained() -> None:
    patterns = ["transformer.wte.*", "transformer.h.0.*", "*.bias"]
    model = adapt(build(), recipe(training__freeze=patterns))
    names = set(trained(model))
    every = {name for name, _ in model.named_parameters()}
    assert every - names == {
        name
        for name in every
        if name.startswith(("transformer.wte.", "transformer.h.0.")) or name.endswith(".bias")
    }
    assert "transformer.h.1.attn.c_attn.weight" in names
    assert merged(model) is model


def test_tied_weights_are_frozen_by_each_of_their_names() -> None:
    model = adapt(build(), recipe(training__freeze=["lm_head.weight"]))
    assert "transformer.wte.weight" not in trained(model)


def test_frozen_layers_get_no_additions() -> None:
    model = adapt(build(), lora(training__freeze=["transformer.h.0.*"]))
    assert trained(model)
    assert all(name.startswith("transformer.h.1.") for name in trained(model))


def test_a_frozen_head_is_not_trained_whole() -> None:
    settings = lora(training__freeze=["score.*"])
    model = adapt(build("gpt2", "classification"), settings, WHOLE["classification"])
    assert all(".lora_" in name for name in trained(model))


@pytest.mark.parametrize("method", ["full", "lora"])
def test_nothing_left_to_train_is_refused(method: str) -> None:
    with pytest.raises(RecipeError, match=r"nothing to train|no linear layer that is not frozen"):
        adapt(build(), recipe(training__freeze=["*"], training__method=method))


def test_a_pattern_that_fits_nothing_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(RecipeError, match=r"freeze has .transformer\.wt\.weight") as caught:
        adapt(build(), recipe(training__freeze=["*.bias", "transformer.wt.weight"]))
    assert "'transformer.wte.weight'" in str(caught.value)
    assert "\n" not in str(caught.value)


# What is not trained, as one vector


@pytest.mark.parametrize(("family", "head"), HEADS_OF)
def test_trained_and_frozen_together_are_the_whole_model(family: str, head: str) -> None:
    whole = WHOLE.get(head, ())
    model = shaken(adapt(build(family, head), lora(), whole))
    vector = get_frozen(model)
    assert vector is not None and vector.dtype == np.float32
    plain = dict(build(family, head).named_parameters())
    assert sorted(frozen(model)) == sorted(set(plain) - set(whole))
    expected = np.concatenate([plain[n].detach().numpy().ravel() for n in sorted(frozen(model))])
    assert vector.tobytes() == expected.tobytes()
    other = adapt(build(family, head, seed=9), lora(), whole)
    assert not torch.equal(outputs(other), outputs(model))
    set_frozen(other, vector)
    set_weights(other, get_weights(model))
    assert torch.equal(outputs(other), outputs(model))
    with pytest.raises(ProtocolError, match="do not fit a model"):
        set_frozen(other, vector[1:])


def test_of_a_model_trained_whole_nothing_is_frozen() -> None:
    assert get_frozen(build()) is None


def test_what_a_file_holds_besides_parameters_is_frozen() -> None:
    class Counted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(2))
            self.register_buffer("mean", torch.tensor([3.0, 4.0]))
            self.register_buffer("place", torch.arange(3), persistent=False)

    first, second = Counted(), Counted()
    first.mean += 1
    vector = get_frozen(first)
    assert vector is not None and vector.tolist() == [4.0, 5.0]
    set_frozen(second, vector)
    assert second.mean.tolist() == [4.0, 5.0]
