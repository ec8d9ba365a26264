"""The finished tokenizer: lossless, one hash, and loadable anywhere without llmos."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, models

from llmos.errors import ModelError
from llmos.models.bpe import train_bpe
from llmos.models.pieces import count_pieces
from llmos.models.tokenizer import (
    SPECIAL_TOKENS,
    token_byte_lengths,
    tokenizer_from_bytes,
    tokenizer_to_bytes,
)
from llmos.models.vocabulary import Vocabulary

TEXT = (
    "The members don't send text , they send counts .\n\n  模型训练完成以后，各方得到同一个模型。"
    "モデルの訓練を待ちます。 हिन्दी में गिनती। ข้อความที่พบน้อย 12345 ❤\ufe0f"
)
TOKENIZER = train_bpe(count_pieces([TEXT] * 5), 400, SPECIAL_TOKENS)
LENGTHS = token_byte_lengths(TOKENIZER)

any_text = st.text(st.characters(exclude_categories=["Cs"])) | st.text(TEXT + "'|<>", max_size=60)


@given(any_text)
def test_decoding_gives_the_text_back(text: str) -> None:
    assert TOKENIZER.decode(TOKENIZER.encode(text).ids, skip_special_tokens=False) == text


@given(any_text)
def test_token_lengths_add_up_to_the_bytes_of_the_text(text: str) -> None:
    assert LENGTHS[TOKENIZER.encode(text).ids].sum() == len(text.encode())


def test_token_lengths_are_per_token_and_zero_for_special_tokens() -> None:
    assert LENGTHS.shape == (400,)
    assert LENGTHS.dtype == np.int32
    assert LENGTHS[:2].tolist() == [0, 0]
    assert LENGTHS[2:258].tolist() == [1] * 256
    assert (LENGTHS[258:] >= 2).all()


def test_merges_learned_in_parts_apply_across_a_whole_run() -> None:
    # Counting would cut 模模模中 | 文; encoding must not.
    tokenizer = train_bpe(count_pieces(["中文"] * 9), 263, SPECIAL_TOKENS)
    ids = tokenizer.encode("模模模中文").ids
    assert tokenizer.decode(ids[-1:]) == "中文"


def test_special_tokens_are_ids_0_and_1_and_can_be_spelled_out_as_text() -> None:
    assert TOKENIZER.encode("a<|endoftext|><|pad|>").ids[1:] == [0, 1]
    careful = tokenizer_from_bytes(tokenizer_to_bytes(TOKENIZER))
    careful.encode_special_tokens = True
    ids = careful.encode("<|endoftext|>").ids
    assert 0 not in ids
    assert careful.decode(ids) == "<|endoftext|>"


def test_bytes_are_deterministic_and_read_back_to_the_same() -> None:
    data = tokenizer_to_bytes(TOKENIZER)
    again = tokenizer_from_bytes(data)
    assert tokenizer_to_bytes(again) == data
    assert again.encode(TEXT).ids == TOKENIZER.encode(TEXT).ids
    assert tokenizer_to_bytes(train_bpe(count_pieces([TEXT] * 5), 400, SPECIAL_TOKENS)) == data


@pytest.mark.parametrize("data", [b"", b"{}", b"\xff", b'{"version":"1.0"}'])
def test_other_bytes_are_no_tokenizer(data: bytes) -> None:
    with pytest.raises(ModelError, match=r"tokenizer\.json holds no tokenizer"):
        tokenizer_from_bytes(data)


def test_lengths_are_refused_for_a_tokenizer_that_is_not_byte_level() -> None:
    with pytest.raises(ModelError, match="is not made of bytes"):
        token_byte_lengths(Tokenizer(models.WordPiece({"[UNK]": 0, "北京": 1}, unk_token="[UNK]")))


def test_a_saved_tokenizer_loads_without_llmos_and_is_lossless(tmp_path: Path) -> None:
    # A vocabulary takes its tokenizer over: what spells a special token is no longer one.
    words = Vocabulary.of(tokenizer_from_bytes(tokenizer_to_bytes(TOKENIZER)))
    words.fast_tokenizer(512).save_pretrained(tmp_path)
    assert (tmp_path / "tokenizer.json").read_bytes() == tokenizer_to_bytes(TOKENIZER)
    text = TEXT + " I 'm here . don 't ,  "
    program = (
        "import json, sys\n"
        "sys.modules['llmos'] = None  # importing it would fail\n"
        "from transformers import AutoTokenizer\n"
        "t = AutoTokenizer.from_pretrained(sys.argv[1])\n"
        "ids = t(sys.argv[2])['input_ids']\n"
        "print(json.dumps([ids, t.decode(ids), t.bos_token_id, t.eos_token_id, t.pad_token_id, "
        "t.model_max_length, len(t), sorted(t('a').keys())]))\n"
    )
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    finished = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path), text],
        env={**environment, "HF_HUB_OFFLINE": "1", "PYTHONIOENCODING": "utf-8"},
        capture_output=True,
        check=True,
    )
    ids, decoded, bos, eos, pad, longest, size, names = json.loads(finished.stdout)
    assert ids == TOKENIZER.encode(text).ids
    assert decoded == text
    assert (bos, eos, pad, longest, size) == (0, 0, 1, 512, 400)
    assert names == ["attention_mask", "input_ids"]
