"""The model folder: what transformers alone loads, with the same logits and no llmos."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from transformers.utils.logging import disable_progress_bar

from llmos.errors import StorageError
from llmos.models.arrays import Vector, flatten, layout_of, set_weights, vector_to_bytes
from llmos.models.bpe import train_bpe
from llmos.models.families import build_model
from llmos.models.pieces import count_pieces
from llmos.models.publish import write_model_folder
from llmos.models.tokenizer import SPECIAL_TOKENS, tokenizer_to_bytes
from llmos.models.vocabulary import Vocabulary
from llmos.recipe import ModelSection, Recipe, TrainingSection

torch.set_num_threads(1)  # over models this small, threads only wait for one another

TEXT = "The members train one model. 各方训练同一个模型。 "
TOKENIZER = train_bpe(count_pieces([TEXT] * 5), 280, SPECIAL_TOKENS)

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
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
result = {}
for folder in sys.argv[2:]:
    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    inputs = tokenizer(sys.argv[1], return_tensors="pt")
    with torch.no_grad():
        logits = model(**inputs).logits[0]
    result[folder] = {
        "class": type(model).__name__,
        "dtype": str(model.dtype),
        "ids": inputs["input_ids"][0].tolist(),
        "text": tokenizer.decode(inputs["input_ids"][0]),
        "logits": logits.tolist(),
        "special": [tokenizer.bos_token, tokenizer.eos_token, tokenizer.pad_token],
        "max_length": tokenizer.model_max_length,
        "config": [model.config.bos_token_id, model.config.eos_token_id, model.config.pad_token_id],
        "generation": model.generation_config.to_dict(),
        "new": model.generate(**inputs, max_new_tokens=3, do_sample=False).shape[1],
    }
print(json.dumps(result))
"""


def recipe(family: str) -> Recipe:
    model = ModelSection(
        family=family, num_layers=1, num_heads=2, hidden_size=16, context_length=64, dropout=0.1
    )
    training = TrainingSection(sequence_length=64)
    return Recipe(name="published", seed=3, model=model, training=training)


def weights(family: str) -> Vector:
    size = layout_of(build_model(recipe(family).model, Vocabulary.of(TOKENIZER), 0)).size
    return (np.random.default_rng(8).standard_normal(size) / 3).astype(np.float32)


def test_transformers_loads_it_without_llmos_and_computes_the_same(tmp_path: Path) -> None:
    folders = {family: tmp_path / family for family in ("gpt2", "llama")}
    for family, folder in folders.items():
        write_model_folder(folder, recipe(family), weights(family), TOKENIZER)
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-c", LOAD, TEXT, *map(str, folders.values())],
        capture_output=True,
        text=True,
        env={**environment, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"},
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    for family, folder in folders.items():
        found: dict[str, Any] = json.loads(done.stdout)[str(folder)]
        model = build_model(recipe(family).model, Vocabulary.of(TOKENIZER), 0).eval()
        set_weights(model, weights(family))
        ids = TOKENIZER.encode(TEXT).ids
        with torch.no_grad():
            logits = model(torch.tensor([ids])).logits[0]
        assert found["class"] == type(model).__name__
        assert found["dtype"] == "torch.float32"
        assert found["ids"] == ids
        assert found["text"] == TEXT
        # Only the kind of attention differs (eager here, transformers' choice there).
        torch.testing.assert_close(torch.tensor(found["logits"]), logits, rtol=1e-5, atol=1e-5)
        assert float(logits.std()) > 0.1
        assert found["special"] == ["<|endoftext|>", "<|endoftext|>", "<|pad|>"]
        assert found["config"] == [0, 0, 1]
        assert found["max_length"] == 64
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
        assert found["new"] <= len(ids) + 3


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_the_file_holds_the_very_vector_and_no_pickle(tmp_path: Path, family: str) -> None:
    write_model_folder(tmp_path, recipe(family), weights(family), TOKENIZER)
    arrays = load_file(tmp_path / "model.safetensors")
    assert vector_to_bytes(flatten(arrays)) == vector_to_bytes(weights(family))
    assert {path.name for path in tmp_path.iterdir()} == {
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    }
    assert (tmp_path / "tokenizer.json").read_bytes() == tokenizer_to_bytes(TOKENIZER)


def test_the_same_weights_give_the_same_files_and_may_be_written_again(tmp_path: Path) -> None:
    def write(folder: Path) -> dict[str, bytes]:
        write_model_folder(folder, recipe("gpt2"), weights("gpt2"), TOKENIZER)
        return {path.name: path.read_bytes() for path in folder.iterdir()}

    first = write(tmp_path / "a/b")
    assert write(tmp_path / "c") == first
    assert write(tmp_path / "c") == first  # repeated after a crash


def test_no_path_of_this_machine_is_published(tmp_path: Path) -> None:
    write_model_folder(tmp_path / "secret-place", recipe("gpt2"), weights("gpt2"), TOKENIZER)
    for path in (tmp_path / "secret-place").iterdir():
        assert b"secret-place" not in path.read_bytes(), path.name


def test_a_full_disk_is_one_line(tmp_path: Path) -> None:
    disable_progress_bar()  # what it writes would count against the limit
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    for limit in (20, 5000):  # while config.json is written; while the weights are
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
        try:
            with pytest.raises(StorageError, match="no space left") as caught:
                write_model_folder(
                    tmp_path / str(limit), recipe("gpt2"), weights("gpt2"), TOKENIZER
                )
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json"])
def test_a_file_that_cannot_be_written_is_one_line(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    with pytest.raises(StorageError, match=r"cannot write .*: Is a directory") as caught:
        write_model_folder(tmp_path, recipe("gpt2"), weights("gpt2"), TOKENIZER)
    assert "\n" not in str(caught.value)
