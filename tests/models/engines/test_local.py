"""The engine over a model folder, against transformers itself."""

from __future__ import annotations

import math
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import numpy as np
import pytest
import torch

from llmos.data.documents import Document
from llmos.errors import ModelError, UsageError
from llmos.models.chat import prompt_tokens
from llmos.models.engines.engine import Decoding, Request, UnsupportedError
from llmos.models.engines.local import LocalEngine
from llmos.models.families import build_model
from llmos.models.pieces import count_pieces
from llmos.models.publish import write_model_folder
from llmos.models.vocabulary import Vocabulary, train_tokenizer
from llmos.recipe import Recipe
from llmos.training.objectives.classification import Classification
from llmos.training.objectives.extractive_qa import ExtractiveQA

torch.set_num_threads(1)  # over models this small, threads only wait for one another

TEXTS = ["the tree", "x", "水", "a house and a tree and a street", "bread, water 面包", "a b"]
KINDS = {
    "gpt2": ("causal_lm", ()),
    "chat": ("instruction", ()),
    "t5": ("seq2seq", ()),
    "labels": ("classification", ("bad", "good", "odd")),
    "answers": ("extractive_qa", ()),
    "bert": ("masked_lm", ()),
}


@cache
def made(kind: str) -> tuple[Any, Vocabulary, Recipe, Path]:
    objective, labels = KINDS[kind]
    family = {"gpt2": "gpt2", "chat": "llama", "t5": "t5"}.get(kind, "bert")
    recipe = Recipe(name="t").with_values(
        {
            "model.family": family,
            "model.num_layers": 2,
            "model.num_heads": 2,
            "model.hidden_size": 32,
            "model.context_length": 48,
            "tokenizer.vocabulary_size": 370 if family == "t5" else 280,
            "tokenizer.threshold": 0,
            "training.sequence_length": 48,
            "objective.name": objective,
            **({"objective.labels": list(labels)} if labels else {}),
        }
    )
    words = Vocabulary.of(train_tokenizer(count_pieces([*TEXTS, *TEXTS]), recipe))
    head = {"instruction": "causal_lm"}.get(objective, objective)
    model = build_model(recipe.model, words, seed=5, head=head, labels=labels)
    model.requires_grad_(False)
    with torch.no_grad():  # far from even, so that the padding would show
        for parameter in model.parameters():
            parameter.mul_(3)
    folder = Path(mkdtemp())
    write_model_folder(folder, model.eval(), words, 48)
    return model, words, recipe, folder


@cache
def engine(kind: str) -> LocalEngine:
    return LocalEngine(made(kind)[3])


def greedy(kind: str, ids: list[int], new: int, **settings: Any) -> list[int]:
    """What transformers writes for one row, without padding."""
    model, words, _, _ = made(kind)
    settings = {"do_sample": False, "num_beams": 1, **settings}
    found = model.generate(
        input_ids=torch.tensor([ids]),
        attention_mask=torch.ones(1, len(ids), dtype=torch.long),
        max_new_tokens=new,
        eos_token_id=words.end,
        pad_token_id=words.pad,
        **settings,
    )[0].tolist()
    return found[1:] if kind == "t5" else found[len(ids) :]


def decoded(kind: str, ids: list[int]) -> str:
    return str(made(kind)[1].tokenizer.decode(ids, skip_special_tokens=True))


@pytest.mark.parametrize(("kind", "beams"), [("gpt2", 1), ("t5", 1), ("t5", 3)])
def test_writing_many_is_what_transformers_writes_alone(kind: str, beams: int) -> None:
    words = made(kind)[1]
    decoding = Decoding(max_new_tokens=9, num_beams=beams)
    found = engine(kind).write([Request(prompt=text, decoding=decoding) for text in TEXTS])
    for text, piece in zip(TEXTS, found, strict=True):
        ids = [*([words.end] if kind == "gpt2" else []), *words.encode(text)]
        ids += [words.end] if kind == "t5" else []
        new = greedy(kind, ids, 9, num_beams=beams)
        assert piece.text == decoded(kind, new)
        assert piece.prompt_tokens == len(ids) and piece.new_tokens <= 9
        assert piece.finish == ("stop" if words.end in new else "length")


def test_chats_are_laid_out_as_trained() -> None:
    words = made("chat")[1]
    messages = ({"role": "user", "content": "the tree <|user|>"},)
    request = Request(messages=messages, decoding=Decoding(max_new_tokens=6))
    (piece,) = engine("chat").write([request])
    ids = prompt_tokens(words, messages)
    assert piece.text == decoded("chat", greedy("chat", ids, 6)) and piece.prompt_tokens == len(ids)
    with pytest.raises(UnsupportedError, match="no chat template"):
        engine("gpt2").write([request])


@pytest.mark.parametrize("kind", ["gpt2", "t5"])
def test_a_stream_joins_to_the_whole_text(kind: str) -> None:
    for stop in ((), ("e", "水x")):
        request = Request(prompt="a house", decoding=Decoding(max_new_tokens=12, stop=stop))
        pieces = list(engine(kind).stream(request))
        (whole,) = engine(kind).write([request])
        assert "".join(piece.text for piece in pieces) == whole.text
        assert (pieces[-1].finish, pieces[-1].prompt_tokens) == (whole.finish, whole.prompt_tokens)
        assert all(mark not in whole.text for mark in stop)


def test_a_stop_text_ends_the_text_before_it() -> None:
    (free,) = engine("gpt2").write([Request(prompt="x", decoding=Decoding(max_new_tokens=20))])
    middle = free.text[len(free.text) // 2]
    decoding = Decoding(max_new_tokens=20, stop=(middle,), logprobs=0)
    (cut,) = engine("gpt2").write([Request(prompt="x", decoding=decoding)])
    assert cut.text == free.text[: free.text.index(middle)] and cut.finish == "stop"
    assert cut.new_tokens < free.new_tokens


def test_closing_a_stream_ends_the_writing() -> None:
    stream = engine("gpt2").stream(Request(prompt="x", decoding=Decoding(max_new_tokens=40)))
    next(stream)
    stream.close()  # type: ignore[attr-defined]
    assert len(engine("gpt2").write([Request(prompt="x")])) == 1  # no lock is held


def test_sampling_repeats_with_a_seed_whatever_else_is_asked() -> None:
    decoding = Decoding(max_new_tokens=12, temperature=1.5, seed=3, top_p=0.9, top_k=40)
    request = Request(prompt="the", decoding=decoding)
    before = torch.get_rng_state()
    (alone,) = engine("gpt2").write([request])
    assert torch.equal(before, torch.get_rng_state())
    many = engine("gpt2").write([Request(prompt=text) for text in TEXTS[:2]] + [request])
    assert many[2] == alone
    assert "".join(piece.text for piece in engine("gpt2").stream(request)) == alone.text


@pytest.mark.parametrize("kind", ["gpt2", "t5"])
def test_log_probabilities_are_the_models_own(kind: str) -> None:
    model, words, _, _ = made(kind)
    request = Request(prompt="a tree", decoding=Decoding(max_new_tokens=5, logprobs=2))
    (piece,) = engine(kind).write([request])
    assert 0 < len(piece.logprobs) <= 5
    for token in piece.logprobs:  # greedy: the token is the likeliest
        assert token.top[0][0] == token.token
        assert token.top[0][1] == pytest.approx(token.logprob)
        assert token.top[0][1] >= token.top[1][1]
    if kind == "gpt2":
        logits = model(torch.tensor([[words.end, *words.encode("a tree")]])).logits[0, -1]
        assert piece.logprobs[0].logprob == pytest.approx(
            float(logits.log_softmax(-1).max()), abs=1e-4
        )


def test_likelihoods_are_those_of_one_row_alone() -> None:
    model, words, _, _ = made("gpt2")
    pairs = [("the", " tree"), ("", "bread"), ("a house and a ", "street"), ("x", "水")]
    for (context, continuation), found in zip(
        pairs, engine("gpt2").likelihoods(pairs), strict=True
    ):
        whole = [words.end, *words.encode(context + continuation)]
        first = 1 + len(words.encode(context.rstrip()))
        values = model(torch.tensor([whole])).logits[0].log_softmax(-1)
        wanted = sum(float(values[at - 1, whole[at]]) for at in range(first, len(whole)))
        assert found.logprob == pytest.approx(wanted, abs=1e-3)
        assert found.tokens == len(whole) - first


def test_likelihood_of_a_target() -> None:
    model, words, _, _ = made("t5")
    (found,) = engine("t5").likelihoods([("the tree", "bread")])
    labels = torch.tensor([words.encode("bread")])
    loss = model(input_ids=torch.tensor([[*words.encode("the tree"), words.end]]), labels=labels)
    assert found.logprob == pytest.approx(-float(loss.loss) * labels.numel(), abs=1e-3)


def test_labels_are_those_of_the_objective() -> None:
    model, words, recipe, _ = made("labels")
    wanted = Classification(recipe, words).predict(model, TEXTS)
    assert np.abs(engine("labels").classify(TEXTS) - wanted).max() < 1e-5
    assert engine("labels").labels == ("bad", "good", "odd")
    assert engine("labels").classify(["a tree " * 99]).sum() == pytest.approx(1)
    assert engine("bert").labels == ()
    with pytest.raises(UnsupportedError):
        engine("bert").classify(TEXTS)


def test_spans_are_those_of_the_objective_but_for_no_answer() -> None:
    model, words, recipe, _ = made("answers")
    question, contexts = "a tree", ["bread, water 面包", "the house and " * 30, "水 x"]
    documents = [Document("", "", {"question": question, "context": c}) for c in contexts]
    wanted = ExtractiveQA(recipe, words).answer_all(model, documents)
    found = engine("answers").spans([(question, context) for context in contexts])
    compared = 0
    for context, answer, (start, stop, share) in zip(contexts, wanted, found, strict=True):
        if stop:
            compared += 1
            assert (context[start:stop], start) == (answer.text, answer.start)
            assert share <= answer.probability + 1e-6
        else:  # nothing is likelier than the best span
            assert share >= answer.probability * (1 - share) - 1e-6
    assert compared
    assert engine("answers").spans([(question, "")]) == [(0, 0, 1.0)]


@pytest.mark.parametrize("kind", ["gpt2", "t5", "bert"])
def test_vectors_have_length_one_and_do_not_depend_on_the_batch(kind: str) -> None:
    found = engine(kind).embed(TEXTS)
    assert found.shape == (len(TEXTS), 32)
    assert np.abs(np.linalg.norm(found, axis=1) - 1).max() < 1e-5
    assert np.abs(found[2] - engine(kind).embed([TEXTS[2]])[0]).max() < 1e-4


def test_bad_requests() -> None:
    with pytest.raises(UsageError, match="shorten the prompt"):
        engine("gpt2").write([Request(prompt="水" * 60)])
    with pytest.raises(UsageError, match="max_new_tokens 0"):
        engine("gpt2").write([Request(prompt="x", decoding=Decoding(max_new_tokens=0))])
    with pytest.raises(UnsupportedError, match="json_schema"):
        engine("gpt2").write([Request(prompt="x", decoding=Decoding(json_schema={"a": 1}))])
    with pytest.raises(UnsupportedError, match="encoder"):
        engine("bert").write([Request(prompt="x")])
    with pytest.raises(UnsupportedError, match="no head"):
        engine("gpt2").spans([("x", "y")])
    with pytest.raises(ModelError, match="holds no model"):
        LocalEngine(Path(mkdtemp()))
    assert math.isclose(engine("gpt2").count_tokens("a b"), len(made("gpt2")[1].encode("a b")))
