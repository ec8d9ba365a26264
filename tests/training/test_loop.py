"""The training loop: the right loss, the right steps, and the same bits after a restart."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from llmos.data.batches import IGNORE, Batch
from llmos.data.packing import PackedSequences
from llmos.errors import ProtocolError
from llmos.models.arrays import layout_of
from llmos.models.bpe import train_bpe
from llmos.models.families import build_model
from llmos.models.tokenizer import SPECIAL_TOKENS
from llmos.models.vocabulary import Vocabulary
from llmos.recipe import ModelSection, Recipe, TrainingSection
from llmos.training.loop import Trainer, use_deterministic
from llmos.training.objectives.causal_lm import CausalLM
from llmos.training.objectives.token_loss import output_projection
from llmos.training.schedules import learning_rate_factor

LENGTH = 12
WORDS = Vocabulary.of(train_bpe({}, 258, SPECIAL_TOKENS))
TOKENS = np.random.default_rng(0).integers(0, 258, 400).astype(np.uint16)


@pytest.fixture(autouse=True)
def deterministic() -> Iterator[None]:
    """Deterministic kernels on one thread; models this small gain nothing from two."""
    before = torch.are_deterministic_algorithms_enabled()
    use_deterministic(threads=1)
    yield
    torch.use_deterministic_algorithms(before)


def trainer(
    family: str = "gpt2",
    dropout: float = 0.0,
    *,
    total_steps: int = 20,
    seed: int = 5,
    peak: float = 1.0,
    tokens: npt.NDArray[Any] = TOKENS,
    objective: Callable[[Recipe, Vocabulary], Any] = CausalLM,
    frozen: str = "nothing",
    **changes: Any,
) -> Trainer:
    section = ModelSection(
        family=family,
        num_layers=1,
        num_heads=2,
        hidden_size=16,
        context_length=LENGTH + 1,
        dropout=dropout,
    )
    training = {
        "learning_rate": 3e-3,
        "batch_size": 3,
        "sequence_length": LENGTH,
        "warmup_steps": 3,
        "precision": "fp32",
        **changes,
    }
    recipe = Recipe(name="loop", model=section, training=TrainingSection(**training))
    model = build_model(section, WORDS, seed=1)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(frozen not in name)
    return Trainer(
        model,
        PackedSequences(tokens, LENGTH, seed),
        objective(recipe, WORDS),
        recipe.training,
        total_steps=total_steps,
        seed=seed,
        peak=peak,
    )


def test_deterministic_kernels_and_the_thread_count_are_set() -> None:
    use_deterministic(threads=2)
    assert torch.get_num_threads() == 2
    assert torch.are_deterministic_algorithms_enabled()
    use_deterministic(threads=0)
    assert torch.get_num_threads() == 2


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_the_reported_loss_is_that_of_transformers(family: str) -> None:
    tried = trainer(family, learning_rate=1e-12)  # so that the weights stay within rounding
    model = copy.deepcopy(tried.model)
    batches = [tried.data.batch(step, 3) for step in range(4)]
    # With labels, transformers shifts by itself: it takes the runs of tokens, one longer.
    runs = [
        torch.from_numpy(np.concatenate([batch["input_ids"], batch["labels"][:, -1:]], axis=1))
        for batch in batches
    ]
    with torch.no_grad():
        losses = [float(model(input_ids=run, labels=run).loss) for run in runs]
    report = tried.run(4)
    assert report.loss == pytest.approx(np.mean(losses), abs=1e-5)
    assert report.losses == {"token": report.loss}
    assert (report.steps, report.tokens) == (4, 4 * 3 * LENGTH)
    assert report.seconds > 0


def test_five_steps_equal_adamw_in_float64() -> None:
    """Clip, schedule and AdamW (Loshchilov & Hutter 2019, Algorithm 2), written out in NumPy."""
    changes: dict[str, Any] = {"clip_norm": 0.5, "weight_decay": 0.2, "schedule": "linear"}
    tried = trainer(**changes, total_steps=10, peak=0.7)
    model = copy.deepcopy(tried.model).double()
    named = dict(model.named_parameters())
    state = {n: [np.zeros(p.shape), np.zeros(p.shape)] for n, p in named.items()}
    norms = []
    for step in range(5):
        batch = {n: torch.from_numpy(array) for n, array in tried.data.batch(step, 3).items()}
        logits = model(input_ids=batch["input_ids"]).logits
        model.zero_grad()
        functional.cross_entropy(logits.flatten(0, 1), batch["labels"].flatten()).backward()
        gradients = {n: p.grad.numpy().copy() for n, p in named.items() if p.grad is not None}
        norms.append(np.sqrt(sum((g**2).sum() for g in gradients.values())))
        rate = 3e-3 * 0.7 * learning_rate_factor(tried.settings, step, 10)
        for name, parameter in named.items():
            g = gradients[name] * min(1.0, 0.5 / norms[-1])
            m, v = state[name]
            m[...] = 0.9 * m + 0.1 * g
            v[...] = 0.95 * v + 0.05 * g**2
            direction = (m / (1 - 0.9 ** (step + 1))) / (
                np.sqrt(v / (1 - 0.95 ** (step + 1))) + 1e-8
            )
            decay = 0.2 if parameter.ndim >= 2 else 0.0
            with torch.no_grad():
                weights = parameter.numpy()
                parameter.copy_(torch.from_numpy(weights - rate * (direction + decay * weights)))
    assert min(norms) > 0.5  # so clipping was at work
    report = tried.run(5)
    assert rate == pytest.approx(tried.optimizers[0].param_groups[0]["lr"])
    assert report.learning_rate == pytest.approx(rate)
    assert report.norm == pytest.approx(np.mean(norms), rel=1e-5)
    for name, parameter in tried.model.named_parameters():
        found, expected = parameter.detach().numpy(), named[name].detach().numpy()
        if name.endswith("attn.c_attn.bias"):
            # No loss depends on the bias of keys: its gradient is rounding, its direction chance.
            found, expected = (np.delete(values, slice(16, 32)) for values in (found, expected))
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5, err_msg=name)


def test_gradients_are_scaled_down_to_the_clip_norm_and_never_up() -> None:
    seen: list[float] = []
    for clip_norm in (1e-3, 1e6):
        tried = trainer(clip_norm=clip_norm)
        (optimizer,) = tried.optimizers

        def watch(tried: Trainer = tried, step: Any = optimizer.step) -> None:
            grads = [p.grad for p in tried.model.parameters() if p.grad is not None]
            seen.append(float(torch.nn.utils.get_total_norm(grads)))
            step()

        optimizer.step = watch  # type: ignore[method-assign,assignment]
        tried.run(1)
    assert seen[0] == pytest.approx(1e-3, rel=1e-3)
    assert 1e-3 < seen[1] < 1e6


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("constant", [0.25, 0.5, 0.75, 1.0, 1.0, 1.0, 1.0, 1.0]),
        ("linear", [0.25, 0.5, 0.75, 1.0, 1.0, 0.775, 0.55, 0.325]),
        ("wsd", [0.25, 0.5, 0.75, 1.0, 1.0, 1.0, 1.0, 0.55]),
    ],
)
@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_the_learning_rate_follows_the_schedule_up_to_half_of_it_warm_up(
    schedule: str, expected: list[float], optimizer: str
) -> None:
    tried = trainer(
        schedule=schedule,
        optimizer=optimizer,
        warmup_steps=100,
        total_steps=8,
        peak=0.5,
        decay_share=0.5,
    )
    rates, reported = [], []
    for _ in range(8):
        reported.append(tried.run(1).learning_rate)
        rates += [{group["lr"] for o in tried.optimizers for group in o.param_groups}]
    assert len(tried.optimizers) == (2 if optimizer == "muon" else 1)
    assert [len(rate) for rate in rates] == [1] * 8
    assert reported == [rate.pop() for rate in rates]
    assert reported == pytest.approx([3e-3 * 0.5 * f for f in expected])


def continued(source: Trainer, **options: Any) -> Trainer:
    """A new trainer that has only what was saved of another: weights and state, as bytes."""
    weights = np.frombuffer(source.weights().tobytes(), np.float32)
    state = {
        key: np.frombuffer(value.tobytes(), value.dtype) for key, value in source.state().items()
    }
    fresh = trainer(**options)
    fresh.run(2)  # it may have trained before
    fresh.set_weights(weights)
    fresh.load_state(state)
    return fresh


def same_bits(a: Trainer, b: Trainer) -> None:
    assert a.weights().tobytes() == b.weights().tobytes()
    left, right = a.state(), b.state()
    assert left.keys() == right.keys()
    for key in left:
        assert left[key].dtype == right[key].dtype
        assert left[key].tobytes() == right[key].tobytes(), key


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("dropout", [0.0, 0.3])
@pytest.mark.parametrize("family", ["gpt2", "llama"])
@settings(max_examples=4, deadline=None)
@given(stop=st.integers(0, 9), more=st.integers(1, 5))
def test_a_restart_at_any_step_gives_the_same_bits(
    family: str, dropout: float, precision: str, stop: int, more: int
) -> None:
    options: dict[str, Any] = {"family": family, "dropout": dropout, "precision": precision}
    whole = trainer(**options)
    whole.run(stop)
    goes_on_with_the_same_bits(whole, more, options)
    assert whole.step == stop + more


def goes_on_with_the_same_bits(whole: Trainer, more: int, options: Mapping[str, Any]) -> None:
    """Whether a trainer begun anew from what is saved of `whole` trains on as `whole` does."""
    resumed = continued(whole, **options)
    torch.manual_seed(999)  # what else the process draws must not matter
    loss = whole.run(more).loss
    torch.rand(17)
    assert resumed.run(more).loss == loss
    same_bits(whole, resumed)
    assert resumed.step == whole.step


@pytest.mark.parametrize(
    "changes",
    [
        {"optimizer": "muon"},
        {"optimizer": "muon", "family": "llama", "precision": "bf16"},
        {"gradient_checkpointing": True, "dropout": 0.3},
        {"gradient_checkpointing": True, "family": "llama", "precision": "bf16"},
        {"micro_batch_size": 2, "dropout": 0.3},
        {"frozen": "h.0.attn"},
        {"frozen": "h.0", "optimizer": "muon"},  # no matrix is left to Muon
    ],
    ids=str,
)
@settings(max_examples=3, deadline=None)
@given(stop=st.integers(0, 9), more=st.integers(1, 5))
def test_a_restart_gives_the_same_bits_with_each_option(
    changes: dict[str, Any], stop: int, more: int
) -> None:
    whole = trainer(**changes)
    whole.run(stop)
    goes_on_with_the_same_bits(whole, more, changes)


def test_steps_in_one_go_and_one_by_one_are_the_same() -> None:
    whole, single = trainer(dropout=0.2), trainer(dropout=0.2)
    report = whole.run(6)
    losses = [single.run(1).loss for _ in range(6)]
    same_bits(whole, single)
    assert report.loss == pytest.approx(np.mean(losses), rel=1e-6)


def test_dropout_is_drawn_anew_at_every_step_from_the_seed() -> None:
    # With nothing learned, two steps on the same rows differ by dropout alone.
    tokens = np.zeros(LENGTH + 1, np.uint16)
    tokens[:] = np.arange(LENGTH + 1)
    options: dict[str, Any] = {"dropout": 0.5, "learning_rate": 1e-12, "tokens": tokens}
    first = [trainer(**options, seed=1).run(1).loss for _ in range(2)]
    assert first[0] == first[1]
    tried = trainer(**options, seed=1)
    losses = [tried.run(1).loss for _ in range(4)]
    assert losses[0] == first[0]
    assert len(set(losses)) == 4
    assert trainer(**options, seed=2).run(1).loss != first[0]


def test_the_state_before_the_first_step_is_the_step_alone() -> None:
    tried = trainer()
    assert {key: value.tolist() for key, value in tried.state().items()} == {"step": [0]}
    report = tried.run(0)
    assert (report.loss, report.tokens, report.steps) == (0.0, 0, 0)


def test_resetting_the_optimizer_forgets_the_moments_and_keeps_the_step() -> None:
    tried = trainer()
    tried.run(3)
    tried.reset_optimizer()
    assert {key: value.tolist() for key, value in tried.state().items()} == {"step": [3]}
    # AdamW's bias correction begins again, while schedule and data go on.
    tried.run(2)
    assert tried.state()["step"].tolist() == [5, 2]
    same_bits(continued(tried), tried)


def test_the_state_of_another_model_is_refused() -> None:
    tried, other = trainer(), trainer("llama")
    other.run(1)
    with pytest.raises(ProtocolError, match="do not fit a model"):
        tried.load_state(other.state())


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_weights_and_moments_are_float32(precision: str) -> None:
    tried = trainer(precision=precision)
    tried.run(2)
    assert tried.weights().dtype == np.float32
    assert {p.dtype for p in tried.model.parameters()} == {torch.float32}
    state = tried.state()
    assert state["exp_avg"].dtype == state["exp_avg_sq"].dtype == np.float32
    assert state["exp_avg"].shape == state["exp_avg_sq"].shape == tried.weights().shape
    assert tried.model.training


def test_the_state_of_another_optimizer_is_refused() -> None:
    tried, other = trainer(optimizer="muon"), trainer()
    other.run(1)
    with pytest.raises(ProtocolError, match="no momentum_buffer: it is of another optimizer"):
        tried.load_state(other.state())


class Masked(CausalLM):
    """Predicts few places, more of them in later rows, and has a second loss of its own count."""

    def counts(self, batch: Batch) -> dict[str, int]:
        kept = self.masked(torch.from_numpy(batch["labels"])) != IGNORE
        return {"token": int(kept.sum()), "size": len(batch["labels"])}

    def losses(
        self, model: torch.nn.Module, batch: Mapping[str, torch.Tensor]
    ) -> dict[str, torch.Tensor]:
        logits = model(input_ids=batch["input_ids"]).logits
        labels = self.masked(batch["labels"])
        token = functional.cross_entropy(
            logits.flatten(0, 1), labels.flatten(), ignore_index=IGNORE, reduction="sum"
        )
        return {"token": token, "size": logits.square().mean(dim=(1, 2)).sum()}

    def masked(self, labels: torch.Tensor) -> torch.Tensor:
        """Only tokens below 60 are predicted: another number of them in every row."""
        return labels.masked_fill(labels >= 60, IGNORE)


@pytest.mark.parametrize("objective", [CausalLM, Masked])
@pytest.mark.parametrize("size", [1, 2, 3, 4, 6, 7])
def test_micro_batches_give_the_step_of_the_whole_batch(objective: Any, size: int) -> None:
    options: dict[str, Any] = {"objective": objective, "batch_size": 6, "schedule": "constant"}
    whole, parts = trainer(**options), trainer(**options, micro_batch_size=size)
    if objective is Masked:
        labels = torch.from_numpy(whole.data.batch(0, 6)["labels"])
        per_row = (labels < 60).sum(1).tolist()
        assert (
            len(set(per_row)) > 2
            and sum(per_row) == whole.objective.counts(whole.data.batch(0, 6))["token"]
        )
    for _ in range(3):
        a, b = whole.run(1), parts.run(1)
        assert b.losses == pytest.approx(dict(a.losses), rel=1e-6)
        assert (b.loss, b.norm) == pytest.approx((a.loss, a.norm), rel=1e-6)
        assert b.tokens == a.tokens
    # The moments are linear in the gradient, where the weights' step is a quotient of them.
    for key in ("exp_avg", "exp_avg_sq"):
        np.testing.assert_allclose(
            parts.state()[key], whole.state()[key], rtol=1e-4, atol=1e-6 * abs(a.norm)
        )
    np.testing.assert_allclose(parts.weights(), whole.weights(), atol=1e-4)


def test_one_step_of_micro_batches_has_the_gradient_of_the_mean_loss() -> None:
    """The mean over the whole batch, not the mean of the means of its parts."""
    tried = trainer(objective=Masked, batch_size=6, micro_batch_size=2, clip_norm=1e6)
    model = copy.deepcopy(tried.model).double()
    batch = {n: torch.from_numpy(array) for n, array in tried.data.batch(0, 6).items()}
    logits = model(input_ids=batch["input_ids"]).logits
    labels = batch["labels"].masked_fill(batch["labels"] >= 60, IGNORE)
    token = functional.cross_entropy(logits.flatten(0, 1), labels.flatten())  # over those kept
    size = logits.square().mean()
    (token + size).backward()
    report = tried.run(1)
    assert report.losses == pytest.approx({"token": token.item(), "size": size.item()}, rel=1e-6)
    assert report.loss == pytest.approx(token.item() + size.item(), rel=1e-6)
    gradients = dict(model.named_parameters())
    state = tried.state()
    for name, moment in layout_of(tried.model).split(state["exp_avg"]).items():
        expected = gradients[name].grad
        assert expected is not None
        np.testing.assert_allclose(moment / 0.1, expected.numpy(), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("family", ["gpt2", "llama"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_gradient_checkpointing_changes_memory_only(family: str, precision: str) -> None:
    # Dropout must be drawn as it was in the forward pass.
    options: dict[str, Any] = {"family": family, "precision": precision, "dropout": 0.3}
    plain, saving = trainer(**options), trainer(**options, gradient_checkpointing=True)
    output_projection(saving.model)  # its one look at the model is no step
    calls = recomputed(saving)
    assert [plain.run(1).loss for _ in range(4)] == [saving.run(1).loss for _ in range(4)]
    same_bits(plain, saving)
    assert calls == [True] * 8  # the block was computed twice a step


def recomputed(tried: Trainer) -> list[bool]:
    """Every time from now on that the block's first layer norm is computed."""
    calls: list[bool] = []
    norm = next(
        m for name, m in tried.model.named_modules() if name.endswith(("ln_1", "input_layernorm"))
    )
    norm.register_forward_hook(lambda *_: calls.append(True))
    return calls


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_frozen_weights_stay_and_do_not_travel(optimizer: str) -> None:
    tried, free = trainer(optimizer=optimizer, frozen="h.0.attn"), trainer(optimizer=optimizer)
    frozen = {name: p for name, p in tried.model.named_parameters() if "h.0.attn" in name}
    before = {name: p.detach().clone() for name, p in frozen.items()}
    size = sum(p.numel() for p in frozen.values())
    start = tried.weights()
    assert len(frozen) == 4
    assert start.size == free.weights().size - size
    tried.run(3)
    for name, parameter in frozen.items():
        assert torch.equal(parameter, before[name]) and parameter.grad is None
    assert np.mean(tried.weights() != start) > 0.9
    state = tried.state()
    moments = [
        state[key].size for key in ("exp_avg", "exp_avg_sq", "momentum_buffer") if key in state
    ]
    matrices = moments[2] if optimizer == "muon" else 0
    assert moments[:2] == [start.size - matrices] * 2
    tried.set_weights(start)
    assert tried.weights().tobytes() == start.tobytes()


class FirstTokens(CausalLM):
    """Predicts from the token table alone, so that no gradient reaches the blocks."""

    def losses(
        self, model: torch.nn.Module, batch: Mapping[str, torch.Tensor]
    ) -> dict[str, torch.Tensor]:
        table = model.get_input_embeddings()(batch["input_ids"])  # type: ignore[operator]
        return {"token": table.square().sum()}


def test_weights_that_no_loss_reaches_do_not_hinder_a_restart() -> None:
    whole = trainer(objective=FirstTokens)
    start = layout_of(whole.model).split(whole.weights())
    whole.run(3)
    after = layout_of(whole.model).split(whole.weights())
    assert {n for n in start if not np.array_equal(start[n], after[n])} == {
        "transformer.wte.weight"
    }
    assert whole.state()["exp_avg"].size == whole.weights().size
    goes_on_with_the_same_bits(whole, 2, {"objective": FirstTokens})


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_the_model_learns(family: str, precision: str, optimizer: str) -> None:
    text = np.tile(np.arange(100, 107, dtype=np.uint16), 30)
    tried = trainer(
        family,
        tokens=text,
        precision=precision,
        optimizer=optimizer,
        learning_rate=1e-2 if optimizer == "adamw" else 2e-2,
        total_steps=80,
        batch_size=8,
    )
    before = tried.run(5).loss
    tried.run(70)
    after = tried.run(5).loss
    assert before > 4.5  # near ln 258 = 5.55, a model that knows nothing
    assert after < 0.2  # each token of the text follows from the one before
