"""The model folder: what transformers alone loads, with the same logits and no llmos."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from transformers.utils.logging import disable_progress_bar

from llmos.errors import StorageError
from llmos.models.arrays import Vector, flatten, layout_of, set_weights, vector_to_bytes
from llmos.models.families import HEADS, build_model
from llmos.models.pieces import count_pieces
from llmos.models.publish import write_model_folder
from llmos.models.tokenizer import tokenizer_to_bytes
from llmos.models.vocabulary import Vocabulary, train_tokenizer
from llmos.recipe import (
    ModelSection,
    ObjectiveSection,
    Recipe,
    TokenizerSection,
    TrainingSection,
)

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Found = dict[tuple[str, str], tuple[Any, dict[str, Any]]]

torch.set_num_threads(1)  # over models this small, threads only wait for one another

TEXT = "The members train one model. 各方训练同一个模型。 "

LOAD = """
import json, sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "llmos":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Absent())
try:
    import llmos
except ModuleNotFoundError:
    pass
else:
    sys.exit("llmos could be imported")
import torch, transformers
result = {}
for pair in sys.argv[2:]:
    auto, _, folder = pair.partition("=")
    model = getattr(transformers, auto).from_pretrained(folder).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    inputs = tokenizer(sys.argv[1], return_tensors="pt")
    two = tokenizer("one", "two")
    extra = {}
    if auto == "AutoModelForSeq2SeqLM":
        extra = {"decoder_input_ids": inputs["input_ids"][:, :9]}
    with torch.no_grad():
        out = model(**inputs, **extra)
    config = model.config
    result[folder] = {
        "class": type(model).__name__,
        "dtype": str(model.dtype),
        "ids": inputs["input_ids"][0].tolist(),
        "pair": dict(two),
        "text": tokenizer.decode(inputs["input_ids"][0], skip_special_tokens=True),
        "logits": {name: out[name].tolist() for name in out if "logits" in name},
        "special": tokenizer.special_tokens_map,
        "max_length": tokenizer.model_max_length,
        "config": [
            getattr(config, name, None) for name in ("bos_token_id", "eos_token_id", "pad_token_id")
        ],
        "labels": config.id2label,
    }
    if model.can_generate():
        made = model.generate(**inputs, max_new_tokens=3, do_sample=False)
        result[folder] |= {
            "generation": model.generation_config.to_dict(), "new": made.tolist()
        }
print(json.dumps(result))
"""

HEADS_OF = {
    "gpt2": ("causal_lm", "classification", "extractive_qa"),
    "llama": ("causal_lm", "classification", "extractive_qa"),
    "bert": ("masked_lm", "masked_lm_next_sentence", "classification", "extractive_qa"),
    "t5": ("seq2seq", "classification", "extractive_qa"),
}
PUBLISHED = [(family, head) for family, heads in HEADS_OF.items() for head in heads]


def recipe(family: str) -> Recipe:
    model = ModelSection(
        family=family,
        num_layers=1,
        num_heads=2,
        hidden_size=16,
        context_length=64,
        dropout=0.1,
        num_key_value_heads=1 if family == "llama" else 0,
    )
    objective = {"bert": "masked_lm", "t5": "seq2seq"}.get(family, "causal_lm")
    return Recipe(
        name="published",
        seed=3,
        model=model,
        objective=ObjectiveSection(name=objective),
        tokenizer=TokenizerSection(vocabulary_size=380 if family == "t5" else 280),
        training=TrainingSection(sequence_length=64),
    )


COUNTS = count_pieces([TEXT] * 5)
WORDS = {family: Vocabulary.of(train_tokenizer(COUNTS, recipe(family))) for family in HEADS_OF}


def labels_of(head: str) -> tuple[str, ...]:
    return ("schlecht", "gut", "很好") if head == "classification" else ()


def published(family: str, head: str = "causal_lm") -> PreTrainedModel:
    """A model with weights large enough that each of them matters."""
    model = build_model(
        recipe(family).model, WORDS[family], 0, head=head, labels=labels_of(head)
    ).eval()
    set_weights(model, weights(model))
    return model


def weights(model: PreTrainedModel) -> Vector:
    size = layout_of(model).size
    return (np.random.default_rng(8).standard_normal(size) / 3).astype(np.float32)


def write(folder: Path, family: str, head: str = "causal_lm") -> PreTrainedModel:
    model = published(family, head)
    write_model_folder(folder, model, WORDS[family], 64)
    return model


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Found:
    """What transformers makes of every folder in a process that has no llmos."""
    folder = tmp_path_factory.mktemp("published")
    models = {}
    for family, head in PUBLISHED:
        models[family, head] = write(folder / family / head, family, head)
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-c", LOAD, TEXT]
        + [f"{HEADS[head].__name__}={folder / family / head}" for family, head in PUBLISHED],
        capture_output=True,
        text=True,
        env={**environment, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"},
        cwd=folder,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    return {key: (models[key], found[str(folder / key[0] / key[1])]) for key in PUBLISHED}


@pytest.mark.parametrize(("family", "head"), PUBLISHED)
def test_transformers_loads_it_without_llmos_and_computes_the_same(
    loaded: Found, family: str, head: str
) -> None:
    model, found = loaded[family, head]
    ids = WORDS[family].tokenizer.encode(TEXT).ids  # with the special tokens of the family
    inputs = {"input_ids": torch.tensor([ids])}
    if head == "seq2seq":
        inputs["decoder_input_ids"] = inputs["input_ids"][:, :9]
    with torch.no_grad():
        out = model(**inputs)
    assert found["class"] == type(model).__name__
    assert found["dtype"] == "torch.float32"
    assert found["ids"] == ids
    assert found["text"] == TEXT
    logits = {name: value for name, value in out.items() if "logits" in name}
    assert found["logits"].keys() == logits.keys() and len(logits) in (1, 2)
    for name, expected in logits.items():
        # Only the kind of attention differs (eager here, transformers' choice there).
        torch.testing.assert_close(
            torch.tensor(found["logits"][name]), expected, rtol=1e-5, atol=1e-5
        )
        assert float(expected.std()) > 0.1
    assert found["max_length"] == 64
    names = labels_of(head)
    if names:
        assert found["labels"] == {str(number): name for number, name in enumerate(names)}


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_a_decoder_samples_within_its_context(loaded: Found, family: str) -> None:
    _, found = loaded[family, "causal_lm"]
    end = "<|endoftext|>"
    assert found["special"] == {"bos_token": end, "eos_token": end, "pad_token": "<|pad|>"}
    assert found["config"] == [0, 0, 1]
    assert list(found["pair"]) == ["input_ids", "attention_mask"]
    assert (
        found["generation"].items()
        >= {
            "do_sample": True,
            "temperature": 0.7,
            "top_k": 50,
            "max_new_tokens": 63,
            "eos_token_id": 0,
            "pad_token_id": 1,
        }.items()
    )
    assert len(found["new"][0]) <= len(found["ids"]) + 3


def test_bert_reads_one_text_or_two(loaded: Found) -> None:
    for head in HEADS_OF["bert"]:
        model, found = loaded["bert", head]
        assert not model.can_generate() and "generation" not in found
        assert found["ids"][0] == 1 and found["ids"][-1] == 2  # [CLS] ... [SEP]
        assert found["special"] == {
            "bos_token": "[CLS]",
            "eos_token": "[SEP]",
            "cls_token": "[CLS]",
            "sep_token": "[SEP]",
            "pad_token": "[PAD]",
            "mask_token": "[MASK]",
        }
        one, two = (WORDS["bert"].encode(text) for text in ("one", "two"))
        assert found["pair"]["input_ids"] == [1, *one, 2, *two, 2]
        # The second text is another segment: BERT was trained on both.
        segments = [0] * (len(one) + 2) + [1] * (len(two) + 1)
        assert found["pair"]["token_type_ids"] == segments
        assert found["pair"]["attention_mask"] == [1] * len(segments)


def test_t5_ends_a_text_and_takes_the_likeliest_tokens(loaded: Found) -> None:
    for head in HEADS_OF["t5"]:
        _, found = loaded["t5", head]
        assert found["ids"][-1] == 1
        assert found["special"] == {"eos_token": "</s>", "pad_token": "<pad>"}
        one, two = (WORDS["t5"].encode(text) for text in ("one", "two"))
        assert found["pair"]["input_ids"] == [*one, 1, *two, 1]
        assert list(found["pair"]) == ["input_ids", "attention_mask"]
    model, found = loaded["t5", "seq2seq"]
    assert found["config"][1:] == [1, 0]
    generation = found["generation"]
    assert generation.get("do_sample") in (None, False)
    assert (generation["eos_token_id"], generation["pad_token_id"]) == (1, 0)
    assert generation["decoder_start_token_id"] == found["new"][0][0] == 0
    with torch.no_grad():  # the first token is the likeliest one after the beginning
        first = model(
            input_ids=torch.tensor([found["ids"]]), decoder_input_ids=torch.tensor([[0]])
        ).logits[0, 0]
    assert found["new"][0][1] == int(first.argmax())


@pytest.mark.parametrize(("family", "head"), PUBLISHED)
def test_the_file_holds_the_very_vector_and_no_pickle(
    tmp_path: Path, family: str, head: str
) -> None:
    model = write(tmp_path, family, head)
    arrays = load_file(tmp_path / "model.safetensors")
    assert vector_to_bytes(flatten(arrays)) == vector_to_bytes(weights(model))
    generates = {"generation_config.json"} if head in ("causal_lm", "seq2seq") else set()
    assert {path.name for path in tmp_path.iterdir()} == generates | {
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    }
    tokenizer = WORDS[family].tokenizer
    assert (tmp_path / "tokenizer.json").read_bytes() == tokenizer_to_bytes(tokenizer)


def test_the_same_weights_give_the_same_files_and_may_be_written_again(tmp_path: Path) -> None:
    def files(folder: Path) -> dict[str, bytes]:
        write(folder, "gpt2")
        return {path.name: path.read_bytes() for path in folder.iterdir()}

    first = files(tmp_path / "a/b")
    assert files(tmp_path / "c") == first
    assert files(tmp_path / "c") == first  # repeated after a crash


def test_no_path_of_this_machine_is_published(tmp_path: Path) -> None:
    write(tmp_path / "secret-place", "gpt2")
    for path in (tmp_path / "secret-place").iterdir():
        assert b"secret-place" not in path.read_bytes(), path.name


def test_a_full_disk_is_one_line(tmp_path: Path) -> None:
    disable_progress_bar()  # what it writes would count against the limit
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    for limit in (20, 5000):  # while config.json is written; while the weights are
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
        try:
            with pytest.raises(StorageError, match="no space left") as caught:
                write(tmp_path / str(limit), "gpt2")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json"])
def test_a_file_that_cannot_be_written_is_one_line(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    with pytest.raises(StorageError, match=r"cannot write .*: Is a directory") as caught:
        write(tmp_path, "gpt2")
    assert "\n" not in str(caught.value)
