"""The readable Transformer: its formulas, what it may look at, and that it learns."""

from __future__ import annotations

import copy

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from llmos.models.transformer import (
    TransformerModel,
    attention,
    sinusoidal_positions,
)

torch.set_num_threads(1)  # over models this small, threads only wait for one another

V, D, H, LAYERS = 23, 16, 4, 2


@pytest.fixture
def model() -> TransformerModel:
    torch.manual_seed(0)
    return TransformerModel(V, D, H, LAYERS, dropout=0.0).eval()


def ids(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(2, V, shape, generator=torch.Generator().manual_seed(seed))


def attention_in_float64(
    query: npt.NDArray[np.float64],
    key: npt.NDArray[np.float64],
    value: npt.NDArray[np.float64],
    mask: npt.NDArray[np.bool_],
) -> npt.NDArray[np.float64]:
    """The formula, one query after another."""
    found = np.zeros((*query.shape[:-1], value.shape[-1]))
    for place in np.ndindex(query.shape[:-1]):
        keys, values, seen = key[place[:-1]], value[place[:-1]], mask[place]
        if not seen.any():
            continue
        scores = keys[seen] @ query[place] / np.sqrt(query.shape[-1])
        weights = np.exp(scores - scores.max())
        found[place] = weights @ values[seen] / weights.sum()
    return found


@settings(max_examples=30, deadline=None)
@given(
    sizes=st.tuples(*(st.integers(1, 7) for _ in range(4))),
    seed=st.integers(0, 1000),
    share=st.floats(0, 1),
)
def test_attention_is_the_formula(
    sizes: tuple[int, int, int, int], seed: int, share: float
) -> None:
    t, s, d_k, d_v = sizes
    random = np.random.default_rng(seed)
    query, key, value = (
        random.normal(size=(2, 3, n, d)) for n, d in ((t, d_k), (s, d_k), (s, d_v))
    )
    mask = random.random((2, 3, t, s)) < share
    found = attention(
        *(torch.from_numpy(a).float() for a in (query, key, value)), torch.from_numpy(mask)
    )
    expected = attention_in_float64(query, key, value, mask)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-4, atol=1e-5)
    unmasked = attention(*(torch.from_numpy(a) for a in (query, key, value)))
    expected = attention_in_float64(query, key, value, np.ones_like(mask))
    np.testing.assert_allclose(unmasked.numpy(), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kind", ["none", "causal", "padding", "nowhere"])
def test_attention_and_its_gradients_are_those_of_pytorch(kind: str) -> None:
    generator = torch.Generator().manual_seed(1)
    tensors = [
        torch.randn(2, 3, n, 8, generator=generator, dtype=torch.float64).requires_grad_()
        for n in (5, 6, 6)
    ]
    mask = {
        "none": None,
        "causal": torch.ones(5, 6, dtype=torch.bool).tril(),
        "padding": (torch.arange(6) < torch.tensor([[4], [6]]))[:, None, None, :],
        "nowhere": (torch.arange(6) < torch.tensor([[0], [6]]))[:, None, None, :],
    }[kind]
    found = attention(*tensors, mask)
    expected = functional.scaled_dot_product_attention(*tensors, attn_mask=mask)
    if kind == "nowhere":
        # Who may look nowhere gets zeros and passes no gradient on.
        assert not found[0].any()
        found, expected = found[1], expected[1]
    torch.testing.assert_close(found, expected)
    start = 1 if kind == "nowhere" else 0
    for ours, theirs in zip(
        torch.autograd.grad(found.square().sum(), tensors),
        torch.autograd.grad(expected.square().sum(), tensors),
        strict=True,
    ):
        torch.testing.assert_close(ours[start:], theirs[start:])
        assert not ours[:start].any()


def test_positions_are_those_of_the_paper() -> None:
    found = sinusoidal_positions(50, 12)
    assert found.shape == (50, 12)
    for position in (0, 1, 49):
        for i in range(6):
            angle = position / 10000 ** (2 * i / 12)
            assert float(found[position, 2 * i]) == pytest.approx(np.sin(angle), abs=1e-5)
            assert float(found[position, 2 * i + 1]) == pytest.approx(np.cos(angle), abs=1e-5)


def reference(model: TransformerModel) -> nn.Transformer:
    """PyTorch's own Transformer, pre-norm, with the weights of `model`."""
    built = nn.Transformer(
        D, H, LAYERS, LAYERS, 4 * D, dropout=0.0, batch_first=True, norm_first=True
    )
    state = {}
    names = {
        "attention.": "self_attn.",
        "cross_attention.": "multihead_attn.",
        "attention_norm.": "norm1.",
        "feed_forward.0.": "linear1.",
        "feed_forward.2.": "linear2.",
    }
    for name, tensor in model.state_dict().items():
        stack, *rest = name.split(".", 2)
        if stack.endswith("_norm"):
            state[f"{stack.removesuffix('_norm')}.norm.{rest[0]}"] = tensor
        if len(rest) < 2:
            continue
        layer, inside = rest
        last = "norm3." if stack == "decoder" else "norm2."
        for ours, theirs in {
            **names,
            "cross_attention_norm.": "norm2.",
            "feed_forward_norm.": last,
        }.items():
            if inside.startswith(ours):
                state[f"{stack}.layers.{layer}.{theirs}{inside.removeprefix(ours)}"] = tensor
    for name in [name for name in state if ".query." in name]:
        parts = [state.pop(name.replace(".query.", f".{p}.")) for p in ("query", "key", "value")]
        state[name.replace(".query.", ".in_proj_")] = torch.cat(parts)
    for name in [name for name in state if "attn.output." in name]:
        state[name.replace(".output.", ".out_proj.")] = state.pop(name)
    built.load_state_dict(state)
    return built.eval()


def test_it_computes_what_pytorchs_transformer_computes(model: TransformerModel) -> None:
    source, target = ids(3, 9), ids(3, 7, seed=1)
    real = torch.arange(9) < torch.tensor([[9], [4], [1]])
    with torch.no_grad():
        embedded = [
            model.embedding(x) * D**0.5 + sinusoidal_positions(x.shape[1], D)
            for x in (source, target)
        ]
        expected = reference(model)(
            *embedded,
            tgt_mask=nn.Transformer.generate_square_subsequent_mask(7),
            src_key_padding_mask=torch.where(real, 0.0, float("-inf")),
            memory_key_padding_mask=torch.where(real, 0.0, float("-inf")),
        )
        found = model.hidden(source, real, decoder_input_ids=target)
        logits = model(source, real, decoder_input_ids=target).logits
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(logits, expected @ model.embedding.weight.T, rtol=1e-4, atol=1e-5)


@settings(max_examples=20, deadline=None)
@given(place=st.integers(0, 7), token=st.integers(2, V - 1))
def test_later_tokens_never_change_earlier_logits(place: int, token: int) -> None:
    torch.manual_seed(0)
    model = TransformerModel(V, D, H, LAYERS, dropout=0.0).eval()
    source, target = ids(2, 5), ids(2, 8, seed=2)
    changed = target.clone()
    changed[:, place] = token
    with torch.no_grad():
        before = model(source, decoder_input_ids=target).logits
        after = model(source, decoder_input_ids=changed).logits
    torch.testing.assert_close(before[:, :place], after[:, :place], rtol=0, atol=1e-6)
    if not torch.equal(changed, target):
        assert not torch.allclose(before[:, place], after[:, place])


def test_every_target_place_reads_every_source_place(model: TransformerModel) -> None:
    states: list[torch.Tensor] = []

    def keep(module: nn.Module, inputs: tuple[torch.Tensor], output: torch.Tensor) -> None:
        output.retain_grad()
        states.append(output)

    model.embedding.register_forward_hook(keep)
    model(ids(1, 5), decoder_input_ids=ids(1, 3)).logits[0, 0].sum().backward()
    source, _ = states
    assert source.grad is not None and bool((source.grad.abs().sum(-1) > 0).all())


def test_padding_never_changes_results(model: TransformerModel) -> None:
    source, target = ids(2, 6), ids(2, 5, seed=3)
    padded_source = functional.pad(source, (0, 3), value=7)
    padded_target = functional.pad(target, (0, 2), value=9)
    with torch.no_grad():
        alone = model(source, decoder_input_ids=target).logits
        padded = model(
            padded_source,
            functional.pad(torch.ones_like(source), (0, 3)),
            decoder_input_ids=padded_target,
            decoder_attention_mask=functional.pad(torch.ones_like(target), (0, 2)),
            use_cache=False,
        ).logits
    torch.testing.assert_close(padded[:, :5], alone, rtol=1e-4, atol=1e-5)


def test_the_three_embeddings_are_one(model: TransformerModel) -> None:
    assert model.get_output_embeddings().weight is model.get_input_embeddings().weight
    assert len({name for name, _ in model.named_parameters() if "embedding" in name}) == 1
    assert "output.weight" not in dict(model.named_parameters())
    twin = TransformerModel(V, D, H, LAYERS)
    twin.load_state_dict(copy.deepcopy(model.state_dict()))
    assert twin.output.weight is twin.embedding.weight


def test_a_width_that_heads_do_not_divide_is_refused() -> None:
    with pytest.raises(ValueError, match="embedding_dim = 10"):
        TransformerModel(V, 10, 4, 1)


def test_it_learns_to_reverse_and_writes_the_end() -> None:
    """Numbers 2 to 11 backwards, then the end: more than a copy of what stands at its place."""
    torch.manual_seed(0)
    start, end, pad = 0, 1, 0
    model = TransformerModel(12, 32, 4, 1, dropout=0.0, eos_token_id=end)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    generator = torch.Generator().manual_seed(1)

    def pairs(count: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        source = torch.randint(2, 12, (count, 4), generator=generator)
        lengths = torch.randint(2, 5, (count, 1), generator=generator)
        real = torch.arange(4) < lengths
        target = torch.full((count, 5), -100)
        for row, length in enumerate(lengths.flatten().tolist()):
            target[row, :length] = source[row, :length].flip(0)
            target[row, length] = end
        return source.masked_fill(~real, pad), real, target

    for step in range(300):
        optimizer.param_groups[0]["lr"] = 5e-3 * (1 - step / 300)
        source, real, target = pairs(64)
        shifted = functional.pad(target[:, :-1], (1, 0), value=start).clamp(min=pad)
        logits = model(source, real, decoder_input_ids=shifted).logits
        loss = functional.cross_entropy(logits.flatten(0, 1), target.flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    source, real, target = pairs(100)
    written = model.eval().generate_greedy(source, real, max_new_tokens=5)
    right = (written == target.clamp(min=pad)).all(dim=1)
    assert right.float().mean() > 0.9
