"""Answers are found where they stand, in any script; the loss is transformers' own."""

from __future__ import annotations

import copy
import math
import random
from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from llmos.data.documents import Document
from llmos.errors import DataError, RecipeError
from llmos.metrics.exact_match import exact_match
from llmos.models.bpe import train_bpe
from llmos.models.families import build_model
from llmos.models.pieces import count_pieces
from llmos.models.tokenizer import SPECIAL_TOKENS
from llmos.models.vocabulary import Vocabulary, train_tokenizer
from llmos.recipe import Recipe
from llmos.training.loop import Trainer
from llmos.training.objectives.extractive_qa import Answer, ExtractiveQA, token_span

torch.set_num_threads(1)  # over models this small, threads only wait for one another

FAMILIES = ("gpt2", "llama", "bert", "t5")
LENGTH = 24
TEXTS = (
    "The lantern stands in the old harbour, beside the bicycle of Anna's brother (since 1987).",
    "小明把红色的灯笼带到海边的码头，老王在城里的图书馆看书。𠀀𠀁是罕见的字。",
    "東京タワーは1958年に完成した電波塔で、高さは333メートルです。",
    "قَالَ الْوَلَدُ مَرْحَبًا لِأُمِّهِ فِي الْمَدِينَةِ الْكَبِيرَةِ، ثُمَّ عَادَ.",
    "Le cafe\u0301 de l’île\u00a0: naïveté, cœur —  deux  espaces\n\tet 👩‍👩‍👧 ou 🇫🇷!",
)


def question(context: str, answer: str, start: int, asked: str = "where is it?") -> Document:
    fields = {"context": context, "question": asked, "answer": answer, "start": str(start)}
    return Document(f"q{start}", f"{context}\n{asked}", fields, context)


def some_documents() -> list[Document]:
    """Answers of one to three words or of some characters, with contexts short and long."""
    draw = random.Random(0)
    made = []
    for number in range(20):
        context = " ".join(draw.sample(TEXTS[:3], draw.randint(1, 3)))[: draw.randint(30, 200)]
        start = draw.randrange(len(context) - 8)
        answer = context[start : start + draw.randint(1, 8)]
        if answer.strip():
            asked = "which of the old things is it, if any? " * 2 if number == 7 else "where?"
            made.append(question(context, answer, start, asked[: 5 + number * 3]))
    return made


DOCUMENTS = some_documents()


def recipe_of(family: str, **training: Any) -> Recipe:
    values = {
        "model.family": family,
        "model.num_layers": 2,
        "model.num_heads": 2,
        "model.hidden_size": 16,
        "model.context_length": 64,
        "tokenizer.vocabulary_size": 460 if family == "t5" else 360,
        "tokenizer.threshold": 0,
        "objective.name": "extractive_qa",
        "training.sequence_length": LENGTH,
    }
    values |= {f"training.{name}": value for name, value in training.items()}
    return Recipe(name="tiny").with_values(values)


@cache
def made(family: str) -> tuple[ExtractiveQA, Vocabulary, Any]:
    recipe = recipe_of(family)
    words = Vocabulary.of(train_tokenizer(count_pieces(TEXTS), recipe))
    model = build_model(recipe.model, words, seed=3, head="extractive_qa")
    with torch.no_grad():  # far from even, so that a wrong place shows
        for parameter in model.parameters():
            parameter.mul_(2)
    return ExtractiveQA(recipe, words), words, model.eval()


# Where an answer stands


@cache
def byte_pieces(size: int) -> Tokenizer:
    return train_bpe(count_pieces(TEXTS), size, SPECIAL_TOKENS)


@cache
def word_pieces() -> Tokenizer:
    """As BERT's multilingual tokenizer: without case and accents, blanks dropped."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(strip_accents=True, lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(
        vocab_size=150, special_tokens=["[UNK]", "[PAD]", "[CLS]", "[SEP]"], show_progress=False
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    return tokenizer


@cache
def sentence_pieces() -> Tokenizer:
    """As T5's: words that begin with a blank, NFKC."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=200, special_tokens=["<pad>", "</s>", "<unk>"], unk_token="<unk>",
        show_progress=False,
    )  # fmt: skip
    tokenizer.train_from_iterator(TEXTS, trainer)
    return tokenizer


TOKENIZERS = {
    "bytes": lambda: byte_pieces(258),
    "some merges": lambda: byte_pieces(300),
    "most merges": lambda: byte_pieces(400),
    "word pieces": word_pieces,
    "sentence pieces": sentence_pieces,
}


@pytest.mark.parametrize("kind", list(TOKENIZERS))
@given(st.data())
def test_the_span_of_an_answer_holds_it_and_no_more_than_it_must(
    kind: str, data: st.DataObject
) -> None:
    text = data.draw(st.sampled_from(TEXTS))
    start = data.draw(st.integers(0, len(text) - 1))
    answer = text[start : data.draw(st.integers(start + 1, len(text)))]
    start += len(answer) - len(answer.lstrip())
    answer = answer.strip()
    stop = start + len(answer)
    offsets = np.array(TOKENIZERS[kind]().encode(text, add_special_tokens=False).offsets)
    found = token_span(offsets, start, stop)
    touching = [i for i, (a, b) in enumerate(offsets) if a < stop and b > start]
    if not touching:
        assert found is None
        return
    assert found is not None
    first, last = found
    assert touching[0] <= first <= last <= touching[-1]
    begins = [i for i in touching if offsets[i, 0] == start]
    ends = [j for j in touching if offsets[j, 1] == stop]
    decoded = text[offsets[first, 0] : offsets[last, 1]]
    if any(i <= j for i in begins for j in ends):
        assert decoded == answer
    if kind in ("bytes", "some merges", "most merges"):
        assert answer in decoded
        # What it has besides belongs to the two tokens at its ends.
        inside = text[offsets[first, 1] : offsets[last, 0]]
        assert first == last or inside in answer
    if kind == "bytes":
        assert decoded == answer


def test_all_tokens_of_a_character_are_in_its_span() -> None:
    encoding = byte_pieces(258).encode(TEXTS[1])
    for at, character in enumerate(TEXTS[1]):
        found = token_span(np.array(encoding.offsets), at, at + 1)
        assert found is not None
        assert byte_pieces(258).decode(encoding.ids[found[0] : found[1] + 1]) == character


# Rows


def test_windows_are_those_of_transformers() -> None:
    for family in ("bert", "t5"):
        objective, words, _ = made(family)
        tokenizer = words.fast_tokenizer(LENGTH)
        for document in DOCUMENTS:
            asked = document.fields["question"]
            special = tokenizer.num_special_tokens_to_add(pair=True)
            room = LENGTH - special - len(words.encode(asked))
            if room < (LENGTH - special) / 2:
                continue  # the question is cut, which transformers does not do
            theirs = tokenizer(
                asked,
                document.fields["context"],
                truncation="only_second",
                max_length=LENGTH,
                stride=room // 2,
                return_overflowing_tokens=True,
                return_token_type_ids=True,
            )
            data = objective.batches([document], seed=0)
            ours = sorted((list(e["input_ids"]), list(e["token_type_ids"])) for e in data.examples)
            types = theirs["token_type_ids"]
            if family == "t5":  # its model has none
                ours = [(ids, types[0][:0]) for ids, _ in ours]
                types = [[]] * len(ours)
            assert ours == sorted(zip(theirs["input_ids"], types, strict=True))


def run_qa_positions(tokenizer: Any, document: Document, room: int) -> list[tuple[int, int]]:
    """prepare_train_features of transformers' run_qa.py, for one question.

    Its first loop also passes over the [SEP] behind an answer that ends the window; not here.
    """
    examples = tokenizer(
        document.fields["question"],
        document.fields["context"],
        truncation="only_second",
        max_length=LENGTH,
        stride=room // 2,
        return_overflowing_tokens=True,
        return_offsets_mapping=True,
    )
    found = []
    for i, offsets in enumerate(examples["offset_mapping"]):
        sequence_ids = examples.sequence_ids(i)
        start_char = int(document.fields["start"])
        end_char = start_char + len(document.fields["answer"])
        first = sequence_ids.index(1)
        last = len(sequence_ids) - 1 - sequence_ids[::-1].index(1)
        if not (offsets[first][0] <= start_char and offsets[last][1] >= end_char):
            found.append((0, 0))
            continue
        behind = last + 1
        while first < behind and offsets[first][0] <= start_char:
            first += 1
        while offsets[last][1] >= end_char:
            last -= 1
        found.append((first - 1, last + 1))
    return found


@pytest.mark.parametrize("family", ["bert", "t5"])
def test_places_of_english_words_are_those_of_run_qa(family: str) -> None:
    objective, words, _ = made(family)
    tokenizer = words.fast_tokenizer(LENGTH)
    context = " ".join([TEXTS[0]] * 3)
    at = 0
    for word in context.split():
        start = context.index(word, at)
        at = start + len(word)
        document = question(context, word, start, "who?")
        special = tokenizer.num_special_tokens_to_add(pair=True)
        room = LENGTH - special - len(words.encode("who?"))
        ours = [
            (e["start_positions"], e["end_positions"])
            for e in objective.batches([document], seed=0).examples
        ]
        assert ours == run_qa_positions(tokenizer, document, room)
        assert len(ours) > 5 and (0, 0) in ours and len(set(ours)) > 1


@pytest.mark.parametrize("family", FAMILIES)
def test_the_places_in_a_row_spell_the_answer(family: str) -> None:
    objective, words, _ = made(family)
    for text in TEXTS:
        for start in range(0, len(text) - 6, 3):
            answer = text[start : start + 5]
            document = question(text, answer, start, "?")
            held = 0
            for example in objective.batches([document], seed=0).examples:
                first, last = example["start_positions"], example["end_positions"]
                assert isinstance(first, int) and isinstance(last, int)
                if last:
                    held += 1
                    ids = list(example["input_ids"])[first : last + 1]  # type: ignore[arg-type]
                    # A token may have only a part of the character at an end.
                    decoded = words.tokenizer.decode(ids).strip("\ufffd ")
                    whole = answer.strip()
                    assert whole in decoded or (decoded in whole and len(decoded) >= len(whole) - 2)
            assert held


def test_the_frame_of_each_family() -> None:
    for family, rows in {
        "bert": "[CLS] q [SEP] c [SEP]", "t5": "q </s> c </s>",
        "gpt2": "q <|endoftext|> c <|endoftext|>", "llama": "q <|endoftext|> c <|endoftext|>",
    }.items():  # fmt: skip
        objective, words, _ = made(family)
        example = objective.batches([question("c", "c", 0, "q")], seed=0).examples[0]
        names = [words.tokenizer.id_to_token(i) for i in example["input_ids"]]  # type: ignore[union-attr]
        assert " ".join(names) == rows
        assert example["start_positions"] == example["end_positions"] == names.index("c")


def test_a_long_question_leaves_half_of_the_row_to_the_context() -> None:
    objective, words, _ = made("bert")
    document = question(TEXTS[0], "harbour", TEXTS[0].index("harbour"), "what " * 50)
    examples = objective.batches([document], seed=0).examples
    head = list(examples[0]["input_ids"]).index(words.require("separator"))  # type: ignore[arg-type]
    assert head == 1 + (LENGTH - 3) // 2
    assert all(len(e["input_ids"]) <= LENGTH for e in examples)  # type: ignore[arg-type]


# Losses and scores


def tensors(batch: Mapping[str, np.ndarray]) -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(array) for name, array in batch.items()}


def alone(family: str, example: Mapping[str, Any]) -> Any:
    """What transformers says of one row, without padding."""
    inputs = {name: torch.tensor([np.array(value).tolist()]) for name, value in example.items()}
    if family != "bert":
        del inputs["token_type_ids"]
    return made(family)[2](**inputs)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_loss_and_its_gradient_are_those_of_transformers_row_by_row(family: str) -> None:
    objective, _, model = made(family)
    data = objective.batches(DOCUMENTS, seed=1)
    rows = len(data.examples)
    batch = data.batch(0, rows)
    assert (batch["attention_mask"] == 0).any()
    assert objective.tokens(batch) == sum(len(e["input_ids"]) for e in data.examples)  # type: ignore[arg-type]
    model.zero_grad()
    expected = sum(alone(family, example).loss for example in data.examples) / rows
    expected.backward()
    ours = copy.deepcopy(model)
    ours.zero_grad()
    loss = objective.losses(ours, tensors(batch))["span"] / objective.counts(batch)["span"]
    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-5)
    loss.backward()
    for (name, a), b in zip(ours.named_parameters(), model.named_parameters(), strict=True):
        assert (a.grad is None) == (b[1].grad is None), name
        if a.grad is not None:
            torch.testing.assert_close(a.grad, b[1].grad, rtol=1e-3, atol=1e-5, msg=name)


@pytest.mark.parametrize("family", FAMILIES)
def test_scores_are_the_surprise_at_start_and_end(family: str) -> None:
    objective, words, model = made(family)
    model.train()
    scores = objective.score(model, DOCUMENTS)
    assert model.training
    model.eval()
    expected, sizes = [], []
    for document in DOCUMENTS:
        examples = objective.batches([document], seed=0).examples
        held = [e for e in examples if e["end_positions"]]
        if not held:
            continue
        # Transformers' loss is the mean of both. Most context: on both sides, at most half a row.
        best = max(held, key=lambda e: around(e, words))
        expected.append(2 * alone(family, best).loss.item())
        sizes.append(len(document.fields["answer"].encode()))
    assert scores.nll == pytest.approx(expected, abs=1e-5)
    assert scores.bytes.tolist() == sizes
    assert scores.tokens.tolist() == [2] * len(sizes)
    assert 10 < len(sizes) < len(DOCUMENTS) + 1
    assert (objective.score(model, DOCUMENTS).nll == scores.nll).all()


def around(example: Mapping[str, Any], words: Vocabulary) -> int:
    """The tokens of context before the answer in the row, or those behind it, if fewer."""
    ids = list(example["input_ids"])
    begin = ids.index(words.end) + 1  # the end of the question
    return min(example["start_positions"] - begin, len(ids) - 2 - example["end_positions"])


def test_an_answer_that_no_window_holds_is_no_unit() -> None:
    objective, _, model = made("bert")
    long, short = question(TEXTS[0], TEXTS[0][4:70], 4), question(TEXTS[0], "The", 0)
    assert {e["end_positions"] for e in objective.batches([long], seed=0).examples} == {0}
    assert len(objective.score(model, [long, short]).nll) == 1
    assert len(objective.score(model, [long]).nll) == 0


# Answers


def by_brute_force(family: str, document: Document, longest: int) -> Answer:
    """All spans of all windows one by one, each window without padding."""
    objective, words, _ = made(family)
    asked, context = document.fields["question"], document.fields["context"]
    found = objective.batches([question(context, context[0], 0, asked)], seed=0).examples
    encoding = words.tokenizer.encode(context, add_special_tokens=False)
    scores: dict[tuple[int, int], float] = {}
    at = 0
    for row in found:
        ids = list(row["input_ids"])  # type: ignore[arg-type]
        begin = ids.index(words.end) + 1
        size = len(ids) - 1 - begin
        while encoding.ids[at : at + size] != ids[begin:-1]:  # windows come in their order
            at += 1
        with torch.no_grad():
            output = alone(family, {n: v for n, v in row.items() if "positions" not in n})
        for first in range(size):
            for last in range(first, min(first + longest, size)):
                ends = (encoding.offsets[at + first], encoding.offsets[at + last])
                if all(context[start:stop].strip() for start, stop in ends):
                    span = (at + first, at + last)
                    score = (
                        output.start_logits[0, begin + first] + output.end_logits[0, begin + last]
                    )
                    scores[span] = max(float(score), scores.get(span, -math.inf))
    best = max(scores, key=scores.__getitem__)
    text = context[encoding.offsets[best[0]][0] : encoding.offsets[best[1]][1]]
    total = sum(math.exp(score) for score in scores.values())
    start = encoding.offsets[best[0]][0] + len(text) - len(text.lstrip())
    return Answer(text.strip(), start, math.exp(scores[best]) / total)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("longest", [1, 7, 30])
def test_the_answer_is_the_best_of_all_spans_of_all_windows(family: str, longest: int) -> None:
    objective, _, model = made(family)
    documents = DOCUMENTS[:8]
    found = objective.answer_all(model, documents, longest)
    for document, ours in zip(documents, found, strict=True):
        expected = by_brute_force(family, document, longest)
        assert (ours.text, ours.start) == (expected.text, expected.start)
        assert ours.probability == pytest.approx(expected.probability, abs=1e-5)
        context = document.fields["context"]
        assert ours.text and context.startswith(ours.text, ours.start)
        asked = document.fields["question"]
        one = objective.answer(model, asked, context, longest)
        assert one[:2] == ours[:2] and one[2] == pytest.approx(ours[2], abs=1e-5)


def test_no_context_has_no_answer() -> None:
    objective, _, model = made("gpt2")
    for context in ("", " \n  "):
        assert objective.answer(model, "where?", context) == Answer("", 0, 0.0)
    assert objective.answer_all(model, []) == []


# Mistakes


def test_rows_too_short_and_answers_outside_are_refused() -> None:
    objective, words, _ = made("bert")
    with pytest.raises(RecipeError, match="sequence_length = 4 leaves no room"):
        ExtractiveQA(recipe_of("bert", sequence_length=4), words)
    ExtractiveQA(recipe_of("bert", sequence_length=5), words)
    outside = question(TEXTS[0], "lantern", 1000)
    with pytest.raises(DataError, match="q1000 has the answer 'lantern' at character 1000"):
        objective.batches([outside], seed=0)


# Learning


def numbered(count: int, seed: int) -> list[Document]:
    """Contexts in which the number behind "since" is the answer."""
    draw = random.Random(seed)
    made = []
    for _ in range(count):
        words = draw.choices(TEXTS[0].split()[:6], k=6)
        at, answer = draw.randint(1, 5), str(draw.randint(1, 9))
        context = " ".join([*words[:at], "since", answer, *words[at:]])
        made.append(question(context, answer, context.index(answer), "since?"))
    return made


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_tiny_model_learns(family: str, precision: str) -> None:
    recipe = recipe_of(
        family,
        sequence_length=64,
        batch_size=16,
        learning_rate=3e-3,
        warmup_steps=20,
        precision=precision,
    ).with_values({"model.hidden_size": 32})
    words = made(family)[1]
    objective = ExtractiveQA(recipe, words)
    model = build_model(recipe.model, words, seed=0, head="extractive_qa")
    train, held_out = numbered(200, seed=1), numbered(40, seed=2)

    def right() -> float:
        found = objective.answer_all(model, held_out)
        truths = [document.fields["answer"] for document in held_out]
        return float(np.mean([exact_match(a.text, t) for a, t in zip(found, truths, strict=True)]))

    assert right() < 0.5
    data = objective.batches(train, seed=0)
    trainer = Trainer(model, data, objective, recipe.training, total_steps=100, seed=0)
    assert set(trainer.run(100).losses) == {"span"}
    assert right() > 0.9
