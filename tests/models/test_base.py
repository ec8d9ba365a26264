"""A base goes on from what it is: its weights, nothing random but a new head, and no folder."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file
from transformers import (
    AutoModel,
    AutoModelForCausalLM,
    DistilBertConfig,
    DistilBertForMaskedLM,
    RobertaConfig,
    RobertaForMaskedLM,
)

from llmos.errors import ModelError
from llmos.models.base import Base, base_sizes, base_vocabulary, load_base
from llmos.models.families import HEADS, build_model
from llmos.models.publish import longest_text, write_model_folder
from llmos.models.vocabulary import ROLES, Vocabulary, train_tokenizer
from llmos.recipe import ModelSection, Recipe

torch.set_num_threads(1)  # over models this small, threads only wait for one another

COUNTS = {"abcdefgh"[k % 8] * k + "xyz"[k % 3]: 9 for k in range(1, 60)}
OWN_HEAD = {"gpt2": "causal_lm", "llama": "causal_lm", "bert": "masked_lm", "t5": "seq2seq"}
NETWORK = {"gpt2": "transformer", "llama": "model", "bert": "bert", "t5": ""}
LABELS = ("low", "middle", "high")


def words_of(family: str) -> Vocabulary:
    values = {
        "model.family": family,
        "objective.name": OWN_HEAD[family],
        "tokenizer.vocabulary_size": 400 if family == "t5" else 280,
    }
    return Vocabulary.of(train_tokenizer(COUNTS, Recipe(name="x").with_values(values)))


def make_base(folder: Path, family: str, head: str = "") -> Path:
    section = ModelSection(
        family=family, num_layers=1, num_heads=2, hidden_size=16, context_length=24
    )
    words = words_of(family)
    model = build_model(section, words, seed=5, head=head or OWN_HEAD[family])
    write_model_folder(folder / family, model, words, 24)
    return folder / family


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("bases")
    return {family: make_base(folder, family) for family in OWN_HEAD}


def built_again(base: Base, head: str) -> Any:
    words = Vocabulary.of(base.tokenizer, base.config)
    return build_model(ModelSection(), words, seed=77, head=head, config=base.config)


def logits(model: Any) -> torch.Tensor:
    ids = torch.arange(110, 130).reshape(2, 10)
    ids[:, -1] = 1  # the end of text, by which T5's classifier finds its place
    more = {"decoder_input_ids": ids} if model.config.is_encoder_decoder else {}
    with torch.no_grad():
        found: torch.Tensor = model.eval()(input_ids=ids, **more)[0]
    return found


@pytest.mark.parametrize("family", OWN_HEAD)
def test_it_is_what_transformers_loads(bases: dict[str, Path], family: str) -> None:
    found = load_base(str(bases[family]), OWN_HEAD[family])
    expected = HEADS[OWN_HEAD[family]].from_pretrained(bases[family])
    assert found.new == ()
    assert {p.dtype for p in found.model.parameters()} == {torch.float32}
    for name, values in expected.state_dict().items():
        assert torch.equal(found.model.state_dict()[name], values), name
    # Only the kind of attention differs (eager here, transformers' choice there).
    torch.testing.assert_close(logits(found.model), logits(expected), rtol=1e-5, atol=1e-5)
    assert found.tokenizer.to_str() == words_of(family).tokenizer.to_str()


@pytest.mark.parametrize(
    ("family", "head", "new"),
    [
        ("gpt2", "classification", ("score.weight",)),
        ("llama", "classification", ("score.weight",)),
        ("llama", "extractive_qa", ("qa_outputs",)),
        ("t5", "extractive_qa", ("qa_outputs",)),
        ("t5", "classification", ("classification_head.dense", "classification_head.out_proj")),
        ("bert", "extractive_qa", ("qa_outputs",)),
        ("bert", "classification", ("bert.pooler.dense", "classifier")),
        ("bert", "masked_lm_next_sentence", ("bert.pooler.dense", "cls.seq_relationship")),
    ],
)
def test_a_new_head_alone_is_random_and_that_from_the_seed(
    bases: dict[str, Path], family: str, head: str, new: tuple[str, ...]
) -> None:
    labels = LABELS if head == "classification" else ()
    torch.manual_seed(1)
    first = load_base(str(bases[family]), head, labels, seed=3)
    torch.manual_seed(2)
    again = load_base(str(bases[family]), head, labels, seed=3)
    other = load_base(str(bases[family]), head, labels, seed=4)
    named = [[n] if n.endswith("weight") else [f"{n}.weight", f"{n}.bias"] for n in new]
    assert first.new == tuple(sorted(name for names in named for name in names))
    network = load_file(bases[family] / "model.safetensors")
    for name, values in first.model.named_parameters():
        assert torch.equal(values, again.model.get_parameter(name)), name
        if name in first.new:  # biases begin as zeros
            changed = not torch.equal(values, other.model.get_parameter(name))
            assert changed == name.endswith("weight"), name
        else:
            bare = name.removeprefix(first.model.base_model_prefix + ".")
            stored = [n for n in network if n in (name, bare) or n.endswith(f".{bare}")]
            assert len(stored) == 1, name
            assert np.array_equal(values.detach().numpy(), network[stored[0]]), name
    if labels:
        assert list(first.model.config.id2label.values()) == list(LABELS)


def test_the_random_state_of_the_caller_is_left_alone(bases: dict[str, Path]) -> None:
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    load_base(str(bases["gpt2"]), "classification", LABELS, seed=3)
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("family", OWN_HEAD)
@pytest.mark.parametrize("head", ["", "classification", "extractive_qa"])
def test_its_config_and_weights_build_it_again_buffers_too(
    bases: dict[str, Path], family: str, head: str
) -> None:
    head = head or OWN_HEAD[family]
    base = load_base(str(bases[family]), head, LABELS if head == "classification" else ())
    assert str(bases[family].parent) not in json.dumps(base.config)
    again = built_again(base, head)
    assert dict(again.named_parameters()).keys() == dict(base.model.named_parameters()).keys()
    again.load_state_dict(base.model.state_dict())
    buffers = dict(again.named_buffers())
    assert buffers.keys() == dict(base.model.named_buffers()).keys()
    for name, values in base.model.named_buffers():
        assert torch.equal(values, buffers[name]), name
    assert torch.equal(logits(again), logits(base.model))
    if family in ("llama", "bert"):  # rotary frequencies; position ids
        assert buffers


@pytest.mark.parametrize("family", OWN_HEAD)
@pytest.mark.parametrize("head", ["classification", "extractive_qa"])
def test_what_is_saved_of_it_loads_whole(
    bases: dict[str, Path], family: str, head: str, tmp_path: Path
) -> None:
    base = load_base(str(bases[family]), head, LABELS if head == "classification" else ())
    write_model_folder(tmp_path, base.model, Vocabulary.of(base.tokenizer, base.config), 24)
    model, info = HEADS[head].from_pretrained(tmp_path, output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"]
    torch.testing.assert_close(logits(model), logits(base.model), rtol=1e-5, atol=1e-5)


def test_a_run_is_a_base_too(bases: dict[str, Path], tmp_path: Path) -> None:
    shutil.copytree(bases["gpt2"], tmp_path / "run" / "model")
    run = load_base(str(tmp_path / "run"))
    assert torch.equal(logits(run.model), logits(load_base(str(bases["gpt2"])).model))


# Tokens


def test_roles_are_added_where_there_are_none(bases: dict[str, Path], tmp_path: Path) -> None:
    plain, base = (load_base(str(bases["llama"]), roles=roles) for roles in (False, True))
    words = Vocabulary.of(base.tokenizer, base.config)
    assert sorted(words.roles.values()) == [280, 281, 282]
    assert base.config["vocab_size"] == base.model.config.vocab_size == 283
    old, new = (b.model.get_input_embeddings().weight.detach().numpy() for b in (plain, base))
    assert np.array_equal(new[:280], old)
    for role in ROLES:
        spelled = words.encode(role.strip("<|>"))
        mean = old[spelled].astype(np.float64).mean(axis=0)
        np.testing.assert_allclose(new[words.roles[role]], mean, atol=1e-7)
    assert (
        len({row.tobytes() for row in new[280:]}) == 3
    )  # else frozen ones could not be told apart
    assert base.model.get_output_embeddings().weight is base.model.get_input_embeddings().weight
    assert base_vocabulary(str(bases["llama"]), roles=True).roles == words.roles
    assert load_base(str(bases["llama"]), roles=True).tokenizer.to_str() == base.tokenizer.to_str()
    # With roles already there, nothing is added.
    write_model_folder(tmp_path, base.model, words, 24)
    again = load_base(str(tmp_path), roles=True)
    assert again.tokenizer.to_str() == base.tokenizer.to_str()
    assert torch.equal(again.model.get_input_embeddings().weight, torch.from_numpy(new))


def test_rows_without_a_token_stay_and_roles_take_the_first_of_them(
    bases: dict[str, Path], tmp_path: Path
) -> None:
    padded = AutoModelForCausalLM.from_pretrained(bases["gpt2"])
    padded.resize_token_embeddings(320)
    words = words_of("gpt2")
    write_model_folder(tmp_path / "padded", padded, words, 24)
    plain = load_base(str(tmp_path / "padded"))
    assert plain.config["vocab_size"] == 320
    assert plain.tokenizer.get_vocab_size() == 280
    write_model_folder(tmp_path / "saved", plain.model, words, 24)
    saved = AutoModelForCausalLM.from_pretrained(tmp_path / "saved")
    torch.testing.assert_close(logits(saved), logits(plain.model), rtol=1e-5, atol=1e-5)
    with_roles = load_base(str(tmp_path / "padded"), roles=True)
    assert with_roles.config["vocab_size"] == 320
    roles = Vocabulary.of(with_roles.tokenizer, with_roles.config).roles
    assert sorted(roles.values()) == [280, 281, 282]


def test_tokens_without_a_row_get_the_mean_of_all(bases: dict[str, Path], tmp_path: Path) -> None:
    shutil.copytree(bases["gpt2"], tmp_path / "base")
    tokenizer = words_of("gpt2").tokenizer
    tokenizer.add_tokens(["<new>"])
    (tmp_path / "base" / "tokenizer.json").write_text(tokenizer.to_str())
    rows = load_base(str(tmp_path / "base")).model.get_input_embeddings().weight.detach().numpy()
    np.testing.assert_allclose(rows[280], rows[:280].astype(np.float64).mean(axis=0), atol=1e-7)


def test_a_tokenizer_that_cuts_and_pads_does_neither_here(
    bases: dict[str, Path], tmp_path: Path
) -> None:
    shutil.copytree(bases["bert"], tmp_path / "base")
    tokenizer = words_of("bert").tokenizer
    tokenizer.enable_truncation(4)
    tokenizer.enable_padding(length=9)
    (tmp_path / "base" / "tokenizer.json").write_text(tokenizer.to_str())
    words = base_vocabulary(str(tmp_path / "base"))
    assert words.encode("abcabcabc") == words_of("bert").encode("abcabcabc")
    assert len(words.encode("xyz" * 30)) > 9
    assert words.encode_all(["a", "xyz" * 30]) == [words.encode("a"), words.encode("xyz" * 30)]


def test_a_classifier_knows_its_padding(bases: dict[str, Path], tmp_path: Path) -> None:
    # GPT-2 of the hub has no token for padding, and without one takes no second text.
    shutil.copytree(bases["gpt2"], tmp_path / "base")
    config = json.loads((tmp_path / "base" / "config.json").read_bytes())
    config["pad_token_id"] = None
    (tmp_path / "base" / "config.json").write_text(json.dumps(config))
    base = load_base(str(tmp_path / "base"), "classification", LABELS)
    assert base.config["pad_token_id"] == words_of("gpt2").pad
    assert logits(base.model).shape == (2, 3)


# What does not fit


@pytest.mark.parametrize(
    ("family", "head"),
    [
        ("gpt2", "masked_lm"),
        ("gpt2", "seq2seq"),
        ("bert", "causal_lm"),  # it has such a class, but sees what it ought to predict
        ("bert", "seq2seq"),
        ("t5", "causal_lm"),
        ("llama", "masked_lm_next_sentence"),
    ],
)
def test_a_base_that_cannot_learn_it_is_refused(
    bases: dict[str, Path], family: str, head: str
) -> None:
    with pytest.raises(ModelError, match=rf"is a {family} model, which cannot be used as {head}"):
        load_base(str(bases[family]), head)


def test_next_sentences_need_a_family_that_has_them(tmp_path: Path) -> None:
    config = RobertaConfig(
        vocab_size=280, hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=32, max_position_embeddings=34, type_vocab_size=1,
    )  # fmt: skip
    write_model_folder(tmp_path, RobertaForMaskedLM(config), words_of("bert"), 32)
    with pytest.raises(ModelError, match="cannot be used as masked_lm_next_sentence"):
        load_base(str(tmp_path), "masked_lm_next_sentence")
    # Its positions begin behind that of padding, so two of 34 are not for text.
    model = load_base(str(tmp_path), "masked_lm").model
    assert longest_text(model) == 32
    assert logits(model).shape == (2, 10, 280)
    model(input_ids=torch.full((1, 32), 110))
    with pytest.raises((IndexError, RuntimeError), match="out of"):
        model(input_ids=torch.full((1, 33), 110))


def test_a_configuration_that_says_little_is_enough(tmp_path: Path) -> None:
    config = DistilBertConfig(vocab_size=280, dim=16, n_layers=1, n_heads=2, hidden_dim=32)
    write_model_folder(tmp_path, DistilBertForMaskedLM(config), words_of("bert"), 32)
    assert base_sizes(str(tmp_path), "masked_lm")[1:] == (1, 16)
    assert load_base(str(tmp_path), "classification", LABELS).new == (
        "classifier.bias",
        "classifier.weight",
        "pre_classifier.bias",
        "pre_classifier.weight",
    )
    with pytest.raises(ModelError, match="cannot be used as causal_lm"):
        load_base(str(tmp_path), "causal_lm")


def test_missing_weights_are_an_error(bases: dict[str, Path], tmp_path: Path) -> None:
    shutil.copytree(bases["bert"], tmp_path / "base")
    path = tmp_path / "base" / "model.safetensors"
    arrays = load_file(path)
    lost = "bert.encoder.layer.0.output.dense.weight"
    save_file({n: a for n, a in arrays.items() if n != lost}, path, {"format": "pt"})
    for head in ("masked_lm", "classification", "masked_lm_next_sentence"):
        with pytest.raises(ModelError, match=f"lacks 1 weights of the model .{lost}"):
            load_base(str(tmp_path / "base"), head, LABELS if head == "classification" else ())


def test_a_network_without_its_output_is_no_language_model(
    bases: dict[str, Path], tmp_path: Path
) -> None:
    base = AutoModel.from_pretrained(bases["bert"])
    write_model_folder(tmp_path, base, words_of("bert"), 24)
    with pytest.raises(ModelError, match=r"lacks \d weights of the model \(cls.predictions"):
        load_base(str(tmp_path), "masked_lm")
    assert load_base(str(tmp_path), "classification", LABELS).new


def test_other_labels_are_refused(bases: dict[str, Path], tmp_path: Path) -> None:
    base = load_base(str(bases["bert"]), "classification", LABELS, seed=1)
    write_model_folder(tmp_path, base.model, Vocabulary.of(base.tokenizer, base.config), 24)
    again = load_base(str(tmp_path), "classification", LABELS, seed=2)
    assert torch.equal(logits(again.model), logits(base.model))
    assert set(again.new) == {"classifier.weight", "classifier.bias"}  # trained beside additions
    for labels in (LABELS[::-1], LABELS[:2]):
        with pytest.raises(ModelError, match="classifies into low, middle, high, not into"):
            load_base(str(tmp_path), "classification", labels)


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("config.json", None, "holds no model"),
        ("config.json", b"{", "cannot be loaded"),
        ("config.json", {"quantization_config": {"quant_method": "gptq"}}, "is quantised"),
        (
            "config.json",
            {"model_type": "own", "auto_map": {"AutoConfig": "m.C"}},
            "cannot be loaded",
        ),
        ("tokenizer.json", None, r"has no tokenizer.json: save its tokenizer as a fast one"),
        ("tokenizer.json", b"{}", "tokenizer.json holds no tokenizer"),
        ("model.safetensors", None, "cannot be loaded"),
        ("model.safetensors", b"x" * 100, "cannot be loaded"),
    ],
)
def test_what_is_damaged_is_one_line(
    bases: dict[str, Path], tmp_path: Path, name: str, content: Any, reason: str
) -> None:
    shutil.copytree(bases["gpt2"], tmp_path / "base")
    path = tmp_path / "base" / name
    if isinstance(content, dict):
        content = json.dumps(json.loads(path.read_bytes()) | content).encode()
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ModelError, match=reason) as caught:
        load_base(str(tmp_path / "base"))
    assert "\n" not in str(caught.value)


def test_pickled_weights_are_not_read(bases: dict[str, Path], tmp_path: Path) -> None:
    shutil.copytree(bases["gpt2"], tmp_path / "base")
    (tmp_path / "base" / "model.safetensors").unlink()
    model = AutoModelForCausalLM.from_pretrained(bases["gpt2"])
    torch.save(model.state_dict(), tmp_path / "base" / "pytorch_model.bin")
    with pytest.raises(ModelError, match=r"only pytorch_model\.bin"):
        load_base(str(tmp_path / "base"))


def test_a_name_that_was_never_fetched_is_one_line(tmp_path: Path) -> None:
    for name in ("nobody/nothing", str(tmp_path / "absent")):
        with pytest.raises(
            ModelError, match="is neither a folder nor a model in the local"
        ) as found:
            load_base(name)
        assert "\n" not in str(found.value)
        assert f"hf download {name}" in str(found.value)


def test_its_sizes_are_known_without_its_weights(bases: dict[str, Path]) -> None:
    base = load_base(str(bases["t5"]), "seq2seq")
    assert base_sizes(str(bases["t5"]), "seq2seq") == (base.model.num_parameters(), 1, 16)
