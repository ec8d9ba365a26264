"""What the loop does when a loss or a gradient is no finite number: stop, skip, or lower."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pytest
import torch

from llmos.data.packing import PackedSequences
from llmos.models.bpe import train_bpe
from llmos.models.families import build_model
from llmos.models.tokenizer import SPECIAL_TOKENS
from llmos.models.vocabulary import Vocabulary
from llmos.recipe import ModelSection, Recipe, TrainingSection
from llmos.training.loop import MOST_SKIPPED, NotFiniteError, Trainer, use_deterministic
from llmos.training.objectives.causal_lm import CausalLM

LENGTH = 8
WORDS = Vocabulary.of(train_bpe({}, 258, SPECIAL_TOKENS))
DATA = PackedSequences(np.random.default_rng(0).integers(0, 258, 400).astype("uint16"), LENGTH, 5)


@pytest.fixture(autouse=True)
def deterministic() -> Iterator[None]:
    before = torch.are_deterministic_algorithms_enabled()
    use_deterministic(threads=1)
    yield
    torch.use_deterministic_algorithms(before)


class Spoiled(CausalLM):
    """The causal objective, but for some calls (from 0) whose loss or gradient is not finite."""

    def __init__(self, recipe: Recipe, words: Vocabulary, calls: Mapping[int, str]) -> None:
        super().__init__(recipe, words)
        self.calls = calls
        self.done = 0

    def losses(
        self, model: torch.nn.Module, batch: Mapping[str, torch.Tensor]
    ) -> dict[str, torch.Tensor]:
        loss = super().losses(model, batch)["token"]
        damage = self.calls.get(self.done, "")
        self.done += 1
        if damage == "gradient":
            # The square root is finite at 0, its slope is not.
            return {"token": loss.mul(0).abs().sqrt()}
        return {"token": loss * {"": 1.0, "nan": float("nan"), "inf": float("inf")}[damage]}


def trainer(calls: Mapping[int, str] | None = None, **changes: Any) -> Trainer:
    """A trainer whose `calls` (steps, where no micro-batches are asked for) are spoiled."""
    recipe = Recipe(
        name="guard",
        model=ModelSection(num_layers=1, num_heads=2, hidden_size=16, context_length=LENGTH),
        training=TrainingSection(
            **{
                "learning_rate": 3e-3,
                "batch_size": 4,
                "sequence_length": LENGTH,
                "schedule": "constant",
                "warmup_steps": 0,
                "precision": "fp32",
                **changes,
            }
        ),
    )
    return Trainer(
        build_model(recipe.model, WORDS, seed=1),
        DATA,
        Spoiled(recipe, WORDS, calls or {}),
        recipe.training,
        total_steps=100,
        seed=5,
    )


def everything(tried: Trainer) -> dict[str, bytes]:
    """Weights and moments, bit for bit, without the count of steps."""
    state = {key: v.tobytes() for key, v in tried.state().items() if key.startswith("exp_")}
    return {**state, "weights": tried.weights().tobytes()}


def continued(source: Trainer, calls: Mapping[int, str], **changes: Any) -> Trainer:
    """A new trainer that has only what is saved of `source`."""
    fresh = trainer(calls, **changes)
    fresh.set_weights(source.weights())
    fresh.load_state(source.state())
    return fresh


# Stop --------------------------------------------------------------------------------------------


def test_a_loss_that_is_no_number_names_the_step_and_the_remedy() -> None:
    tried = trainer({4: "nan"})
    tried.run(2)
    with pytest.raises(NotFiniteError) as caught:
        tried.run(10)
    message = str(caught.value)
    assert "the loss became nan" in message
    assert "at step 5:" in message
    assert "training.learning_rate (now 0.003)" in message
    assert "training.clip_norm (now 1.0)" in message
    assert "\n" not in message
    assert caught.value.step == 4  # from 0, so that its batch can be made again


def test_a_gradient_that_is_not_finite_is_an_error_too() -> None:
    # The weights would be lost unseen.
    with pytest.raises(
        NotFiniteError, match=r"loss became 0 with a gradient of norm nan at step 1:"
    ):
        trainer({0: "gradient"}).run(1)


def test_a_learning_rate_far_too_high_is_noticed() -> None:
    with pytest.raises(NotFiniteError, match=r"lower training.learning_rate \(now 10.0\)"):
        trainer(learning_rate=10.0, weight_decay=10.0).run(40)


# Skip --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("action", ["skip", "lower"])
@pytest.mark.parametrize("damage", ["nan", "inf", "gradient"])
def test_a_skipped_step_changes_nothing_and_is_counted(action: str, damage: str) -> None:
    tried = trainer({3: damage, 6: damage}, not_finite=action)
    tried.run(3)
    before = everything(tried)
    report = tried.run(1)
    assert everything(tried) == before
    assert (report.skipped, report.steps, report.tokens, tried.step) == (1, 1, 0, 4)
    assert np.isnan(report.loss) and set(report.losses) == {"token"}
    # Of a stretch with a skipped step, the means are those of the others.
    twin = trainer(not_finite=action)
    twin.run(3)
    twin.step = 4
    twin._lowered = tried._lowered
    single = [twin.run(1) for _ in range(2)]
    twin.step = 7
    twin._lowered /= 2 if action == "lower" else 1
    single += [twin.run(1) for _ in range(2)]
    report = tried.run(5)
    assert (report.skipped, report.steps, report.tokens) == (1, 5, 4 * 4 * LENGTH)
    assert report.loss == pytest.approx(np.mean([r.loss for r in single]), rel=1e-6)
    assert report.norm == pytest.approx(np.mean([r.norm for r in single]), rel=1e-6)
    assert everything(tried) == everything(twin)


def test_one_bad_micro_batch_leaves_the_whole_step_out() -> None:
    tried = trainer({3: "nan"}, not_finite="skip", micro_batch_size=2)  # the second half of step 2
    tried.run(1)
    before = everything(tried)
    assert tried.run(1).skipped == 1
    assert everything(tried) == before
    assert tried.run(1).skipped == 0


def test_the_first_step_may_be_the_bad_one() -> None:
    tried = trainer({0: "nan"}, not_finite="skip")
    tried.run(1)
    assert tried.state()["step"].tolist() == [1]  # no moments yet
    again = continued(tried, {}, not_finite="skip")
    tried.run(2)
    again.run(2)
    assert everything(again) == everything(tried)


def test_what_a_failed_step_left_behind_is_not_added_to_the_next() -> None:
    tried = trainer(dict.fromkeys(range(MOST_SKIPPED + 1), "nan"), not_finite="skip")
    with pytest.raises(NotFiniteError):
        tried.run(MOST_SKIPPED + 1)
    fresh = trainer()
    tried.load_state(fresh.state())  # as a member does that goes on with the next round
    assert tried.run(3).skipped == 0
    fresh.run(3)
    assert everything(tried) == everything(fresh)


@pytest.mark.parametrize("action", ["skip", "lower"])
def test_too_many_in_a_row_end_the_training(action: str) -> None:
    # One good step between counts the row anew.
    bad = {n: "nan" for n in range(2 * MOST_SKIPPED + 2) if n != MOST_SKIPPED}
    tried = trainer(bad, not_finite=action)
    report = tried.run(2 * MOST_SKIPPED + 1)
    assert report.skipped == 2 * MOST_SKIPPED
    before = everything(tried)
    with pytest.raises(NotFiniteError, match=rf"at step {2 * MOST_SKIPPED + 2}:") as caught:
        tried.run(1)
    assert caught.value.step == 2 * MOST_SKIPPED + 1
    assert everything(tried) == before


def test_a_restart_does_not_count_the_row_anew() -> None:
    tried = trainer(dict.fromkeys(range(99), "nan"), not_finite="skip")
    tried.run(MOST_SKIPPED)
    fresh = continued(tried, {0: "nan"}, not_finite="skip")
    with pytest.raises(NotFiniteError):
        fresh.run(1)


# Lower -------------------------------------------------------------------------------------------


def test_each_bad_step_halves_the_learning_rate_for_good() -> None:
    tried = trainer({1: "nan", 3: "nan", 4: "nan"}, not_finite="lower")
    rates = [tried.run(1).learning_rate for _ in range(6)]
    assert rates == pytest.approx([3e-3 * f for f in (1, 1, 0.5, 0.5, 0.25, 0.125)])
    assert {group["lr"] for group in tried.optimizers[0].param_groups} == {rates[-1]}


def test_the_lowered_learning_rate_survives_a_restart() -> None:
    tried = trainer({1: "nan"}, not_finite="lower")
    tried.run(3)
    fresh = continued(tried, {}, not_finite="lower")
    reports = [tried.run(2), fresh.run(2)]
    assert [r.learning_rate for r in reports] == pytest.approx([1.5e-3] * 2)
    assert everything(fresh) == everything(tried)
    # And a trainer that was lowered forgets it with a state that was not.
    fresh.load_state(trainer().state())
    assert fresh.run(1).learning_rate == pytest.approx(3e-3)


def test_skipping_keeps_the_learning_rate() -> None:
    tried = trainer({1: "nan"}, not_finite="skip")
    assert tried.run(3).learning_rate == pytest.approx(3e-3)
