"""Text from a model folder: streamed without loss, repeatable, and never from a pickle."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

from llmos.data.packing import PackedSequences, pack
from llmos.errors import ModelError, UsageError
from llmos.models.bpe import train_bpe
from llmos.models.families import build_model
from llmos.models.generate import continue_text, generate, load_causal_lm
from llmos.models.pieces import count_pieces
from llmos.models.publish import write_model_folder
from llmos.models.tokenizer import SPECIAL_TOKENS
from llmos.models.vocabulary import Vocabulary
from llmos.recipe import ModelSection, Recipe, TrainingSection
from llmos.training.loop import Trainer
from llmos.training.objectives import make_objective

torch.set_num_threads(1)  # over models this small, threads only wait for one another

CHINESE = "模型训练完成以后，各方得到同一个模型。"
ENGLISH = "The members join, and every member sends one update.\nThen they rest.\n"
CONTEXT = 48
RECIPE = Recipe(
    name="generate",
    model=ModelSection(num_layers=1, num_heads=2, hidden_size=32, context_length=CONTEXT),
    training=TrainingSection(
        sequence_length=CONTEXT, precision="fp32", learning_rate=1e-2, warmup_steps=5, batch_size=8
    ),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder that has learned two texts by heart."""
    # No merges: each Chinese character is three tokens, so that every boundary can break one.
    tokenizer = train_bpe(count_pieces([CHINESE]), 258, SPECIAL_TOKENS)
    words = Vocabulary.of(tokenizer)
    model = build_model(RECIPE.model, words, seed=1)
    documents = [tokenizer.encode(text * 20).ids for text in (CHINESE, ENGLISH)]
    data = PackedSequences(pack(documents, 0, 258), CONTEXT, seed=1)
    objective = make_objective(RECIPE, words)
    trainer = Trainer(model, data, objective, RECIPE.training, total_steps=300, seed=1)
    trainer.run(290)
    assert trainer.run(10).loss < 0.25
    path = tmp_path_factory.mktemp("run")
    write_model_folder(path / "model", model, words, CONTEXT)
    return path


@pytest.fixture
def copy(folder: Path, tmp_path: Path) -> Path:
    """A copy of the model folder, to be damaged."""
    return Path(shutil.copytree(folder / "model", tmp_path / "copy"))


def by_transformers(folder: Path, prompt: str, **options: Any) -> str:
    model, tokenizer = load_causal_lm(folder)
    ids = torch.tensor([[tokenizer.bos_token_id, *tokenizer.encode(prompt)]])
    made: Any = model.generate(  # type: ignore[operator]
        input_ids=ids, attention_mask=torch.ones_like(ids), **options
    )
    return str(tokenizer.decode(made[0, ids.shape[1] :], skip_special_tokens=True))


@pytest.mark.parametrize("prompt", [CHINESE[:4], "The members", "", "各", "\n"])
def test_the_pieces_are_the_text_that_transformers_generates(folder: Path, prompt: str) -> None:
    pieces = list(generate(folder, prompt, temperature=0, max_new_tokens=30))
    expected = by_transformers(folder, prompt, do_sample=False, max_new_tokens=30)
    assert "".join(pieces) == expected
    assert expected


def test_chinese_is_streamed_by_whole_characters(folder: Path) -> None:
    pieces = list(generate(folder, CHINESE[:4], temperature=0, max_new_tokens=33))
    # 33 tokens are exactly 11 characters of three bytes each.
    assert "".join(pieces) == CHINESE[4:15]
    assert not any("\ufffd" in piece for piece in pieces)
    assert len(pieces) >= 8  # character by character, but where punctuation waits for more


def test_english_is_streamed_by_words(folder: Path) -> None:
    pieces = list(generate(folder, "The members", temperature=0, max_new_tokens=30))
    assert "".join(pieces) == " join, and every member sends "
    assert pieces[:3] == [" ", "join, ", "and "]


def test_sampling_is_that_of_transformers_and_its_seed_repeats_it(folder: Path) -> None:
    def sample(seed: int, **options: Any) -> str:
        return "".join(generate(folder, "T", seed=seed, max_new_tokens=20, **options))

    texts = [sample(seed, temperature=2.0, top_k=40) for seed in range(4)]
    assert len(set(texts)) == 4
    assert [sample(seed, temperature=2.0, top_k=40) for seed in range(4)] == texts
    torch.manual_seed(2)
    expected = by_transformers(
        folder, "T", do_sample=True, temperature=2.0, top_k=40, max_new_tokens=20
    )
    assert texts[2] == expected


def test_one_candidate_is_the_likeliest(folder: Path) -> None:
    greedy = "".join(generate(folder, "The", temperature=0, max_new_tokens=15))
    assert "".join(generate(folder, "The", temperature=9, top_k=1, max_new_tokens=15)) == greedy


def test_what_is_not_said_is_the_folder_s_default(folder: Path) -> None:
    torch.manual_seed(5)
    expected = by_transformers(folder, "The", max_new_tokens=44)  # 48 less "The" and its begin
    assert "".join(generate(folder, "The", seed=5)) == expected


def test_a_prompt_leaves_as_many_tokens_as_the_context_has(folder: Path) -> None:
    # 48 less the beginning of the text and 44 characters leave 3 tokens: " jo".
    pieces = generate(folder, "they rest.\n" * 3 + "The members", temperature=0, max_new_tokens=9)
    assert len("".join(pieces)) == 3


def test_a_run_s_folder_stands_for_its_model(folder: Path) -> None:
    options: dict[str, Any] = {"temperature": 0, "max_new_tokens": 5}
    assert list(generate(str(folder), "T", **options)) == list(
        generate(folder / "model", "T", **options)
    )
    assert not load_causal_lm(folder)[0].training


# What is refused


def test_a_prompt_that_fills_the_context(folder: Path) -> None:
    with pytest.raises(UsageError, match=r"prompt has 49 tokens, .* context 48: shorten"):
        generate(folder, "x" * CONTEXT)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temperature": -0.1}, "temperature -0.1 is out of range: use 0 to 100"),
        ({"temperature": 101}, "temperature 101 is out of range"),
        ({"temperature": float("nan")}, "temperature nan is out of range"),
        ({"temperature": float("inf")}, "temperature inf is out of range"),
        ({"top_k": 0}, "top_k 0 is out of range: use 1 or more"),
        ({"max_new_tokens": 0}, "max_new_tokens 0 is out of range: use 1 or more"),
        ({"max_new_tokens": -3}, "max_new_tokens -3 is out of range"),
    ],
)
def test_values_out_of_range_are_refused_at_the_call(
    folder: Path, options: dict[str, Any], message: str
) -> None:
    # Not only when the first piece is asked for: a server answers with an error status then.
    with pytest.raises(UsageError, match=message):
        generate(folder, "T", **options)


def refused(folder: Path) -> str:
    with pytest.raises(ModelError) as caught:
        generate(folder, "T")
    message = str(caught.value)
    assert "\n" not in message
    assert str(folder) in message
    return message


def test_a_folder_without_a_model(tmp_path: Path) -> None:
    assert "holds no model (no config.json): give a model folder" in refused(tmp_path)
    assert "holds no model" in refused(tmp_path / "nowhere")
    (tmp_path / "file").write_text("x")
    assert "holds no model" in refused(tmp_path / "file")


def test_a_pickle_is_never_opened(copy: Path, tmp_path: Path) -> None:
    proof = tmp_path / "executed"

    class Exploit:
        def __reduce__(self) -> Any:
            return (Path.touch, (proof,))

    arrays = load_file(copy / "model.safetensors")
    (copy / "model.safetensors").unlink()
    torch.save({n: torch.from_numpy(a) for n, a in arrays.items()}, copy / "pytorch_model.bin")
    assert "no *.safetensors, only pytorch_model.bin" in refused(copy)
    torch.save({"x": Exploit()}, copy / "pytorch_model.bin")
    assert "safetensors" in refused(copy)
    assert not proof.exists()


@pytest.mark.parametrize("file", ["config.json", "tokenizer_config.json"])
def test_code_in_the_folder_is_never_run(
    copy: Path, tmp_path: Path, file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def asked(prompt: str = "") -> str:
        pytest.fail(f"the user was asked: {prompt}")

    monkeypatch.setattr("builtins.input", asked)
    proof = tmp_path / "executed"
    code = f"import pathlib\npathlib.Path({str(proof)!r}).touch()\n"
    (copy / "evil.py").write_text(code + "class Evil:\n    pass\n")
    value = json.loads((copy / file).read_text())
    if file == "config.json":
        value |= {"model_type": "evil", "auto_map": {"AutoConfig": "evil.Evil"}}
        value["auto_map"]["AutoModelForCausalLM"] = "evil.Evil"
    else:
        value |= {"tokenizer_class": "Evil", "auto_map": {"AutoTokenizer": [None, "evil.Evil"]}}
    (copy / file).write_text(json.dumps(value))
    if file == "config.json":
        refused(copy)
    else:
        load_causal_lm(copy)  # tokenizer.json says all, so the class is not needed
    assert not proof.exists()


@pytest.mark.parametrize(
    "file", ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"]
)
def test_a_file_cut_short(copy: Path, file: str) -> None:
    data = (copy / file).read_bytes()
    (copy / file).write_bytes(data[: len(data) // 2])
    assert "cannot be loaded" in refused(copy)


def test_a_missing_tokenizer(copy: Path) -> None:
    # transformers would make up an empty one and go on.
    (copy / "tokenizer.json").unlink()
    refused(copy)
    (copy / "tokenizer_config.json").unlink()
    assert "holds no tokenizer" in refused(copy)


def test_weights_that_are_missing_or_of_another_size(copy: Path) -> None:
    # transformers would put random numbers in their place and go on.
    arrays = load_file(copy / "model.safetensors")
    name = "transformer.h.0.mlp.c_fc.weight"
    save_file(
        {n: a for n, a in arrays.items() if n != name},
        copy / "model.safetensors",
        metadata={"format": "pt"},
    )
    assert f"lacks 1 weights of the model ({name}" in refused(copy)
    save_file(
        {**arrays, name: np.zeros((3, 3), np.float32)},
        copy / "model.safetensors",
        metadata={"format": "pt"},
    )
    assert "cannot be loaded" in refused(copy)


# The thread behind the stream


def test_a_failure_while_writing_reaches_the_reader(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, tokenizer = load_causal_lm(folder)
    decode, calls = tokenizer.decode, iter(range(100))

    def failing(*args: Any, **options: Any) -> Any:
        if next(calls) >= 3:
            raise ValueError("out of luck")
        return decode(*args, **options)

    monkeypatch.setattr(tokenizer, "decode", failing)
    stream = continue_text(model, tokenizer, "The", temperature=0, max_new_tokens=20)
    with pytest.raises(ModelError, match="generation failed: out of luck"):
        list(stream)


def test_a_reader_who_leaves_ends_the_work(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, tokenizer = load_causal_lm(folder)
    forward, passes = type(model).forward, []

    def counted(*args: Any, **options: Any) -> Any:
        passes.append(threading.current_thread())
        if len(passes) == 6:
            left.wait(30)
        return forward(*args, **options)

    left = threading.Event()
    monkeypatch.setattr(model, "forward", counted.__get__(model))
    stream: Iterator[str] = continue_text(
        model, tokenizer, "The members", temperature=0, max_new_tokens=30
    )
    next(stream)
    threading.Timer(0.05, left.set).start()
    stream.close()  # type: ignore[attr-defined]
    assert len(passes) < 30
    assert not passes[0].is_alive()
