"""The training loop: the right loss, the right steps, and the same bits after a restart."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from llmos.data.packing import PackedSequences
from llmos.errors import ProtocolError, TrainingError
from llmos.models.bpe import train_bpe
from llmos.models.families import build_model
from llmos.models.tokenizer import SPECIAL_TOKENS
from llmos.recipe import ModelSection, TrainingSection
from llmos.training.loop import Trainer, use_deterministic
from llmos.training.objectives import OBJECTIVES
from llmos.training.schedules import learning_rate_factor

LENGTH = 12
TOKENIZER = train_bpe({}, 258, SPECIAL_TOKENS)
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
    **changes: Any,
) -> Trainer:
    model = ModelSection(
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
    return Trainer(
        build_model(model, TOKENIZER, seed=1),
        PackedSequences(tokens, LENGTH, seed),
        TrainingSection(**training),
        objective="causal_lm",
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
    batches = [torch.from_numpy(tried.data.batch(step, 3)) for step in range(4)]
    with torch.no_grad():
        losses = [float(model(input_ids=batch, labels=batch).loss) for batch in batches]
    report = tried.run(4)
    assert report.loss == pytest.approx(np.mean(losses), abs=1e-5)
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
        batch = torch.from_numpy(tried.data.batch(step, 3))
        logits = model(input_ids=batch[:, :-1]).logits
        model.zero_grad()
        functional.cross_entropy(logits.flatten(0, 1), batch[:, 1:].flatten()).backward()
        gradients = {n: p.grad.numpy().copy() for n, p in named.items() if p.grad is not None}
        norms.append(np.sqrt(sum((g**2).sum() for g in gradients.values())))
        rate = 3e-3 * 0.7 * learning_rate_factor("linear", step, 10, 3, 0.1)
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
    tried.run(5)
    assert rate == pytest.approx(tried.optimizer.param_groups[0]["lr"])
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
        optimizer_step = tried.optimizer.step

        def watch(tried: Trainer = tried, step: Any = optimizer_step) -> None:
            grads = [p.grad for p in tried.model.parameters() if p.grad is not None]
            seen.append(float(torch.nn.utils.get_total_norm(grads)))
            step()

        tried.optimizer.step = watch  # type: ignore[method-assign,assignment]
        tried.run(1)
    assert seen[0] == pytest.approx(1e-3, rel=1e-3)
    assert 1e-3 < seen[1] < 1e6


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("constant", [0.25, 0.5, 0.75, 1.0, 1.0, 1.0, 1.0, 1.0]),
        ("linear", [0.25, 0.5, 0.75, 1.0, 1.0, 0.775, 0.55, 0.325]),
    ],
)
def test_the_learning_rate_follows_the_schedule_up_to_half_of_it_warm_up(
    schedule: str, expected: list[float]
) -> None:
    tried = trainer(schedule=schedule, warmup_steps=100, total_steps=8, peak=0.5)
    rates = []
    for _ in range(8):
        tried.run(1)
        rates += [{group["lr"] for group in tried.optimizer.param_groups}]
    assert [len(rate) for rate in rates] == [1] * 8
    assert [rate.pop() for rate in rates] == pytest.approx([3e-3 * 0.5 * f for f in expected])


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
    resumed = continued(whole, **options)
    torch.manual_seed(999)  # what else the process draws must not matter
    loss = whole.run(more).loss
    torch.rand(17)
    assert resumed.run(more).loss == loss
    same_bits(whole, resumed)
    assert resumed.step == stop + more


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


def test_a_loss_that_is_no_number_names_the_step_and_the_remedy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    steps = iter(range(100))

    def spoiled(model: Any, rows: torch.Tensor) -> torch.Tensor:
        loss: torch.Tensor = model(input_ids=rows[:, :-1]).logits.square().mean()
        return loss * float("nan") if next(steps) == 4 else loss

    monkeypatch.setitem(OBJECTIVES, "causal_lm", spoiled)
    tried = trainer()
    tried.run(2)
    with pytest.raises(TrainingError) as caught:
        tried.run(10)
    message = str(caught.value)
    assert "the loss became nan" in message
    assert "at step 5:" in message
    assert "training.learning_rate (now 0.003)" in message
    assert "training.clip_norm (now 1.0)" in message
    assert "\n" not in message


def test_a_gradient_that_is_not_finite_is_an_error_too(monkeypatch: pytest.MonkeyPatch) -> None:
    # The square root is finite at 0, its slope is not: the weights would be lost unseen.
    monkeypatch.setitem(
        OBJECTIVES,
        "causal_lm",
        lambda model, rows: model(input_ids=rows).logits.mul(0).sum().abs().sqrt(),
    )
    with pytest.raises(
        TrainingError, match=r"loss became 0 with a gradient of norm nan at step 1:"
    ):
        trainer().run(1)


def test_a_learning_rate_far_too_high_is_noticed() -> None:
    with pytest.raises(TrainingError, match=r"lower training.learning_rate \(now 10.0\)"):
        trainer(learning_rate=10.0, weight_decay=10.0, warmup_steps=0).run(40)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_the_model_learns(family: str, precision: str) -> None:
    text = np.tile(np.arange(100, 107, dtype=np.uint16), 30)
    tried = trainer(
        family, tokens=text, precision=precision, learning_rate=1e-2, total_steps=80, batch_size=8
    )
    before = tried.run(5).loss
    tried.run(70)
    after = tried.run(5).loss
    assert before > 4.5  # near ln 258 = 5.55, a model that knows nothing
    assert after < 0.2  # each token of the text follows from the one before
