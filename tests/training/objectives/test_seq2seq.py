"""Source to target equals transformers' own loss, for T5 and BART, whatever the padding."""

from __future__ import annotations

import copy
import random
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, processors
from transformers import BartConfig, BartForConditionalGeneration

from llmos.data.batches import IGNORE
from llmos.data.documents import Document
from llmos.errors import RecipeError
from llmos.models.families import build_model
from llmos.models.generate_batch import generate_batch
from llmos.models.pieces import count_pieces
from llmos.models.transformer import TransformerModel
from llmos.models.vocabulary import Vocabulary, train_tokenizer
from llmos.recipe import Recipe
from llmos.training.loop import Trainer
from llmos.training.objectives import make_objective
from llmos.training.objectives.seq2seq import Seq2Seq

torch.set_num_threads(1)  # over models this small, threads only wait for one another

MEANING = {"house": "房子", "tree": "树", "water": "水", "street": "街道", "bread": "面包"}


def pair(source: str, target: str) -> Document:
    fields = {"source": source, "target": target}
    return Document(source, f"{source}\n{target}", fields, source)


def some_pairs(count: int, longest: int = 12) -> list[Document]:
    """A few words, and each of them in Chinese."""
    draw = random.Random(1)
    lines = [draw.choices(list(MEANING), k=draw.randint(1, longest)) for _ in range(count)]
    return [pair(" ".join(line), "".join(MEANING[word] for word in line)) for line in lines]


PAIRS = some_pairs(24)


def recipe_of(**training: Any) -> Recipe:
    values = {
        "model.family": "t5",
        "model.num_layers": 1,
        "model.num_heads": 2,
        "model.hidden_size": 32,
        "model.context_length": 64,
        "tokenizer.vocabulary_size": 370,
        "tokenizer.threshold": 0,
        "objective.name": "seq2seq",
        "training.sequence_length": 64,
        "training.precision": "fp32",
    }
    return Recipe(name="t").with_values(values | {f"training.{k}": v for k, v in training.items()})


@cache
def tokenizer() -> str:
    counts = count_pieces(document.text for document in PAIRS)
    return str(train_tokenizer(counts, recipe_of()).to_str())


def words_of(kind: str) -> Vocabulary:
    made = Tokenizer.from_str(tokenizer())
    if kind == "bart":  # <s> text </s>, and no padding token of T5's
        ends = [(name, made.token_to_id(name)) for name in ("<extra_id_0>", "</s>")]
        made.post_processor = processors.TemplateProcessing(
            single="<extra_id_0> $A </s>", special_tokens=ends
        )
    elif kind == "bare":  # nothing around a text
        made.post_processor = processors.TemplateProcessing(single="$A", special_tokens=[])
    return Vocabulary.of(made)


def model_of(kind: str, words: Vocabulary) -> Any:
    if kind != "bart":
        return build_model(recipe_of().model, words, seed=3, head="seq2seq").eval()
    torch.manual_seed(3)
    return BartForConditionalGeneration(
        BartConfig(
            vocab_size=words.size,
            d_model=32,
            encoder_layers=1,
            decoder_layers=1,
            encoder_attention_heads=2,
            decoder_attention_heads=2,
            encoder_ffn_dim=64,
            decoder_ffn_dim=64,
            max_position_embeddings=64,
            dropout=0.0,
            pad_token_id=words.pad,
            eos_token_id=words.end,
            decoder_start_token_id=words.end,
            forced_eos_token_id=None,
        )
    ).eval()


@cache
def made(kind: str) -> tuple[Seq2Seq, Vocabulary, Any]:
    words = words_of(kind)
    model = model_of(kind, words)
    with torch.no_grad():  # far from even, so that a wrong place shows
        for parameter in model.parameters():
            parameter.mul_(2)
    return Seq2Seq(recipe_of(), words), words, model


def tensors(batch: Mapping[str, np.ndarray], rows: slice = slice(None)) -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(array[rows]) for name, array in batch.items()}


def expected_scores(kind: str, documents: Sequence[Document]) -> list[float]:
    """What transformers itself says of each pair alone, in nats over the target's tokens."""
    _, words, model = made(kind)
    found = []
    for document in documents:
        source, target = (
            torch.tensor([words.tokenizer.encode(document.fields[side]).ids])
            for side in ("source", "target")
        )
        with torch.no_grad():
            loss = model(input_ids=source, labels=target).loss
        found.append(float(loss) * target.shape[1])
    return found


@pytest.mark.parametrize("kind", ["t5", "bart"])
def test_the_loss_and_its_gradient_are_those_of_transformers(kind: str) -> None:
    objective, _, model = made(kind)
    ours, theirs = copy.deepcopy(model), copy.deepcopy(model)
    batch = objective.batches(PAIRS, 1).batch(0, 24)
    assert (batch["attention_mask"] == 0).any() and (batch["labels"] == IGNORE).any()
    loss = objective.losses(ours, tensors(batch))["token"] / objective.counts(batch)["token"]
    expected = theirs(**tensors(batch)).loss
    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-6)
    loss.backward()
    expected.backward()
    for (name, a), b in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-4, atol=1e-6, msg=name)


def test_parts_of_a_batch_add_up_to_it() -> None:
    objective, _, model = made("t5")
    batch = objective.batches(PAIRS, 1).batch(0, 6)
    whole = objective.losses(model, tensors(batch))["token"]
    parts = [
        objective.losses(model, tensors(batch, slice(at, at + 2)))["token"] for at in (0, 2, 4)
    ]
    torch.testing.assert_close(sum(parts), whole)


@pytest.mark.parametrize("kind", ["t5", "bart"])
def test_scores_are_those_of_each_pair_alone(kind: str) -> None:
    objective, words, model = made(kind)
    model.train()
    scores = objective.score(model, PAIRS)
    assert model.training
    model.eval()
    np.testing.assert_allclose(scores.nll, expected_scores(kind, PAIRS), rtol=1e-4)
    targets = [document.fields["target"] for document in PAIRS]
    assert scores.bytes.tolist() == [len(target.encode()) for target in targets]
    assert scores.tokens.tolist() == [len(words.tokenizer.encode(t).ids) for t in targets]
    again = objective.score(model, PAIRS, block_bytes=1)
    np.testing.assert_array_equal(scores.nll, again.nll)


def test_both_texts_end_with_the_end_of_text() -> None:
    for kind, begin in (("t5", []), ("bare", []), ("bart", ["<extra_id_0>"])):
        objective, words, _ = made(kind)
        before = [words.tokenizer.token_to_id(token) for token in begin]
        batch = objective.batches([pair("water", "水"), pair("tree tree", "")], 1).batch(0, 2)
        shown = {
            tuple(ids[mask == 1].tolist()): tuple(labels[labels != IGNORE].tolist())
            for ids, mask, labels in zip(*batch.values(), strict=True)
        }
        assert shown == {
            (*before, *words.encode("water"), words.end): (*before, *words.encode("水"), words.end),
            (*before, *words.encode("tree tree"), words.end): (*before, words.end),
        }
        assert objective.tokens(batch) == sum(len(a) + len(b) for a, b in shown.items())
        assert objective.counts(batch) == {"token": sum(map(len, shown.values()))}


def test_what_is_too_long_loses_its_end() -> None:
    words = words_of("t5")
    objective = Seq2Seq(recipe_of(sequence_length=4), words)
    long = pair(" ".join(MEANING), "".join(MEANING.values()))
    short = pair("tree", "树")
    batch = objective.batches([long, short], 1).batch(0, 2)
    assert objective.cut == 1
    row = next(at for at, ids in enumerate(batch["input_ids"]) if (ids != words.pad).all())
    assert batch["input_ids"][row].tolist() == [*words.encode(long.fields["source"])[:3], words.end]
    target, sizes = words.encode_with_bytes(long.fields["target"])
    assert batch["labels"][row].tolist() == [*target[:3], words.end]
    scores = objective.score(model_of("t5", words), [long, short])
    assert scores.tokens.tolist() == [4, 1 + len(words.encode("树"))]
    assert scores.bytes.tolist() == [sizes[:3].sum(), 3]
    assert objective.cut == 1


def test_a_length_without_room() -> None:
    with pytest.raises(RecipeError, match="sequence_length = 2 leaves no room for a text"):
        Seq2Seq(recipe_of(sequence_length=2), words_of("bart"))


def test_a_tiny_model_learns_to_translate() -> None:
    settings = {"learning_rate": 5e-3, "warmup_steps": 10, "batch_size": 25, "threads": 1}
    recipe = recipe_of(**settings)
    words = words_of("t5")
    objective = make_objective(recipe, words)
    documents = [pair(f"{a} {b}", MEANING[a] + MEANING[b]) for a in MEANING for b in MEANING]
    model = build_model(recipe.model, words, seed=1, head=objective.head)
    data = objective.batches(documents, seed=1)
    trainer = Trainer(model, data, objective, recipe.training, total_steps=250, seed=1)
    before = objective.score(model, documents).bits_per_byte
    assert set(trainer.run(250).losses) == {"token"}
    assert objective.score(model, documents).bits_per_byte < before / 20
    sources = [document.fields["source"] for document in documents]
    written = generate_batch(model, words, sources, max_new_tokens=20)
    right = [w == d.fields["target"] for w, d in zip(written, documents, strict=True)]
    assert sum(right) >= 24


def test_the_plain_transformer_learns_by_the_same_objective() -> None:
    words = words_of("t5")
    recipe = recipe_of(learning_rate=5e-3, warmup_steps=10, batch_size=25, threads=1)
    objective = Seq2Seq(recipe, words)
    torch.manual_seed(1)
    ids = {"pad_token_id": words.pad, "decoder_start_token_id": words.pad}
    model: Any = TransformerModel(
        words.size, 32, 2, 1, dropout=0.0, eos_token_id=words.end, **ids
    ).eval()
    documents = [pair(f"{a} {b}", MEANING[a] + MEANING[b]) for a in MEANING for b in MEANING]
    nll = []
    for document in documents:  # each alone, in float64
        source, target = (
            [*words.encode(document.fields[side]), words.end] for side in ("source", "target")
        )
        shifted = torch.tensor([[words.pad, *target[:-1]]])
        with torch.no_grad():
            logits = model(torch.tensor([source]), decoder_input_ids=shifted).logits[0]
        scores = logits.double().numpy()
        highest = scores.max(-1, keepdims=True)
        totals = np.log(np.exp(scores - highest).sum(-1)) + highest[:, 0]
        nll.append(float((totals - scores[np.arange(len(target)), target]).sum()))
    np.testing.assert_allclose(objective.score(model, documents).nll, nll, rtol=1e-5)
    data = objective.batches(documents, seed=1)
    Trainer(model, data, objective, recipe.training, total_steps=100, seed=1).run(100)
    assert objective.score(model, documents).nll.sum() < sum(nll) / 20
    row = torch.tensor([[*words.encode("water bread"), words.end]])
    written = model.eval().generate_greedy(row, max_new_tokens=9)[0].tolist()
    assert written == [*words.encode("水面包"), words.end]
