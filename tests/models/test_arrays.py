"""Weights as one vector: the order of the sorted names, tied weights once, bits unchanged."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

from llmos.errors import ProtocolError
from llmos.models.arrays import (
    Layout,
    Vector,
    flatten,
    get_weights,
    layout_of,
    set_weights,
    vector_from_bytes,
    vector_to_bytes,
)

shapes = st.dictionaries(
    st.text("abz._1", min_size=1, max_size=6),
    st.lists(st.integers(0, 3), max_size=3).map(tuple),
    min_size=1,
    max_size=6,
)


def layout(named: dict[str, tuple[int, ...]]) -> Layout:
    return Layout(tuple(sorted(named.items())))


def model(name: str) -> Any:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        if name == "gpt2":
            return GPT2LMHeadModel(
                GPT2Config(vocab_size=30, n_positions=8, n_embd=8, n_layer=2, n_head=2)
            )
        return LlamaForCausalLM(
            LlamaConfig(
                vocab_size=30,
                hidden_size=8,
                intermediate_size=16,
                num_hidden_layers=2,
                num_attention_heads=2,
                num_key_value_heads=1,
                tie_word_embeddings=name == "tied llama",
            )
        )


MODELS = ["gpt2", "tied llama", "llama"]


@given(shapes)
def test_arrays_come_back_from_the_vector(named: dict[str, tuple[int, ...]]) -> None:
    count = 0
    arrays: dict[str, Vector] = {}
    for name in sorted(named):
        size = math.prod(named[name])
        arrays[name] = np.arange(count, count + size, dtype=np.float32).reshape(named[name])
        count += size
    # The order in the mapping does not matter: the vector counts up in the order of the names.
    vector = flatten(dict(sorted(arrays.items(), reverse=True)))
    np.testing.assert_array_equal(vector, np.arange(count, dtype=np.float32))
    assert layout(named).size == count
    back = layout(named).split(vector)
    assert list(back) == sorted(named)
    for name, array in arrays.items():
        np.testing.assert_array_equal(back[name], array, strict=True)


@given(shapes)
def test_a_layout_survives_json(named: dict[str, tuple[int, ...]]) -> None:
    assert Layout.from_json(layout(named).to_json()) == layout(named)


@pytest.mark.parametrize(
    "value",
    [
        5,
        [5],
        ["ab"],
        [["a", 5]],
        [["a", [2], "more"]],
        [["a", ["2"]]],
        [["a", "12"]],
        [["a", [1.5]]],
        [["a", [True]]],
        [["a", [-1]]],
        [[1, [2]]],
        [["b", [2]], ["a", [2]]],
        [["a", [2]], ["a", [2]]],
    ],
)
def test_what_is_no_layout_is_refused(value: Any) -> None:
    with pytest.raises(ProtocolError, match="not a layout of arrays"):
        Layout.from_json(value)


@pytest.mark.parametrize("values", [np.zeros(5), np.zeros(7), np.zeros((2, 3)), np.zeros(0)])
def test_vectors_of_another_size_are_refused(values: Vector) -> None:
    with pytest.raises(ProtocolError, match="do not fit a model of 6"):
        Layout((("a", (2, 3)),)).split(values)


@pytest.mark.parametrize("name", MODELS)
def test_tied_weights_count_once(name: str) -> None:
    network = model(name)
    names = [n for n, _ in layout_of(network).shapes]
    assert names == sorted(names)
    assert ("lm_head.weight" in names) == (name == "llama")
    memory = {t.data_ptr(): t.numel() for t in network.state_dict().values()}
    assert layout_of(network).size == sum(memory.values()) == len(get_weights(network))


@pytest.mark.parametrize("name", MODELS)
def test_the_vector_is_the_arrays_in_the_order_of_their_names(name: str) -> None:
    network = model(name)
    state = {n: p.detach().numpy() for n, p in network.named_parameters()}
    expected = np.concatenate([state[n].ravel() for n in sorted(state)])
    np.testing.assert_array_equal(get_weights(network), expected, strict=True)


@pytest.mark.parametrize("name", MODELS)
def test_weights_survive_bit_for_bit(name: str) -> None:
    source, target = model(name), model(name)
    random = np.random.default_rng(1)
    vector = random.standard_normal(layout_of(source).size).astype(np.float32)
    vector[:4] = np.array([-0.0, 1e-45, np.inf, 3.4028235e38], np.float32)
    vector[4:5] = np.array([0x7FC12345], np.uint32).view(np.float32)  # NaN with a payload
    set_weights(source, vector)
    assert get_weights(source).tobytes() == vector.tobytes()
    set_weights(target, get_weights(source))
    for (n, a), b in zip(source.named_parameters(), target.parameters(), strict=True):
        assert a.detach().numpy().tobytes() == b.detach().numpy().tobytes(), n


def test_weights_go_into_the_memory_of_the_model_and_come_out_as_a_copy() -> None:
    network = model("gpt2")
    places = [p.data_ptr() for p in network.parameters()]
    read_only = vector_from_bytes(vector_to_bytes(get_weights(network)), layout_of(network).size)
    assert not read_only.flags.writeable
    set_weights(network, read_only)
    assert [p.data_ptr() for p in network.parameters()] == places
    copy = get_weights(network)
    copy += 1
    np.testing.assert_array_equal(get_weights(network), read_only)
    # Tied weights stay tied.
    assert network.lm_head.weight.data_ptr() == network.transformer.wte.weight.data_ptr()


def test_weights_of_another_model_are_refused() -> None:
    with pytest.raises(ProtocolError, match="do not fit a model of"):
        set_weights(model("gpt2"), get_weights(model("llama")))


def test_bytes_are_little_endian_float32() -> None:
    vector = np.array([1.0, -2.5], np.float32)
    assert vector_to_bytes(vector) == bytes.fromhex("0000803f 000020c0")
    assert vector_to_bytes(vector.astype(">f4")) == bytes.fromhex("0000803f 000020c0")
    back = vector_from_bytes(bytes.fromhex("0000803f 000020c0"), 2)
    np.testing.assert_array_equal(back, vector, strict=True)


@pytest.mark.parametrize("data", [b"", b"1234567", b"123456789abc"])
def test_bytes_of_another_size_are_refused(data: bytes) -> None:
    with pytest.raises(ProtocolError, match=rf"{len(data)} bytes of weights, .* 2 float32 values"):
        vector_from_bytes(data, 2)
