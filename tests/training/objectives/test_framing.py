"""Special tokens stand where each tokenizer puts them."""

from __future__ import annotations

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from llmos.errors import RecipeError
from llmos.models.framing import frame_of_one, frame_of_two
from llmos.models.vocabulary import Vocabulary
from llmos.recipe import Recipe
from llmos.training.objectives.framing import room_in

NAMES = ["<s>", "</s>", "x", "[CLS]", "[SEP]"]
S, END, X, CLS, SEP = range(5)


def words(processor: processors.PostProcessor | None) -> Vocabulary:
    tokenizer = Tokenizer(models.WordLevel({name: i for i, name in enumerate(NAMES)}, "x"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    if processor:
        tokenizer.post_processor = processor
    return Vocabulary.of(tokenizer)


@pytest.mark.parametrize(
    ("processor", "one", "two"),
    [
        (None, ([], []), ([], [END], [END])),  # as GPT-2
        (processors.ByteLevel(trim_offsets=False), ([], []), ([], [END], [END])),
        (
            processors.BertProcessing(("[SEP]", SEP), ("[CLS]", CLS)),
            ([CLS], [SEP]),
            ([CLS], [SEP], [SEP]),
        ),
        (
            processors.RobertaProcessing(("</s>", END), ("<s>", S)),
            ([S], [END]),
            ([S], [END, END], [END]),
        ),
        (
            processors.TemplateProcessing("$A </s>", "$A </s> $B </s>", [("</s>", END)]),
            ([], [END]),
            ([], [END], [END]),
        ),
        (
            processors.TemplateProcessing("<s> $A", "<s> $A <s> $B:1", [("<s>", S)]),
            ([S], []),
            ([S], [S], []),
        ),  # as Llama
    ],
)
def test_frames(
    processor: processors.PostProcessor | None,
    one: tuple[list[int], ...],
    two: tuple[list[int], ...],
) -> None:
    vocabulary = words(processor)
    assert frame_of_one(vocabulary) == one
    assert frame_of_two(vocabulary) == two
    tokenizer = vocabulary.tokenizer
    assert tokenizer.encode("x x").ids == [*one[0], X, X, *one[1]]
    if processor and "ByteLevel" not in repr(processor):
        assert tokenizer.encode("x x", "x").ids == [*two[0], X, X, *two[1], X, *two[2]]


def test_each_text_needs_a_token() -> None:
    recipe = Recipe(name="tiny").with_values({"training.sequence_length": 5})
    assert room_in(([1], [2]), recipe) == 3
    assert room_in(([1], [2], [3]), recipe) == 2
    with pytest.raises(RecipeError, match="= 5 leaves no room for 2 texts beside 4 special"):
        room_in(([1], [2, 2], [3]), recipe)
    with pytest.raises(RecipeError, match="= 5 leaves no room for a text beside 5 special"):
        room_in(([1] * 4, [2]), recipe)
