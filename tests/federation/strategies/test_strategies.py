from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from fractions import Fraction
from itertools import permutations
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from llmos.errors import ProtocolError, RecipeError
from llmos.federation.strategies import STRATEGIES, base
from llmos.federation.strategies.base import (
    Contribution,
    State,
    Strategy,
    Vector,
    normalised_weights,
)
from llmos.federation.strategies.diloco import DiLoCo
from llmos.federation.strategies.fedavg import FedAvg

N = 1000
ALL: list[Strategy] = [FedAvg(), DiLoCo(), DiLoCo(1.0, 0.0)]


def vector(seed: int, scale: float = 1.0, n: int = N) -> Vector:
    return (np.random.default_rng(seed).standard_normal(n) * scale).astype(np.float32)


def three(seed: int = 0) -> list[Contribution]:
    weights = normalised_weights({"b": 700, "a": 100, "ü": 223}, "tokens")
    return [
        Contribution(member, weight, vector(seed + i, 1e-2))
        for i, (member, weight) in enumerate(weights.items(), 1)
    ]


def same_bits(a: tuple[Vector, State], b: tuple[Vector, State]) -> bool:
    return (
        a[0].tobytes() == b[0].tobytes()
        and a[1].keys() == b[1].keys()
        and all(a[1][name].tobytes() == b[1][name].tobytes() for name in a[1])
    )


@settings(deadline=None)
@given(st.dictionaries(st.text(max_size=3), st.integers(0, 10**12), min_size=1, max_size=8))
@example({"a": 2**53, "b": 1, "c": 1})  # adding one by one would lose both
def test_token_weights_are_the_exact_shares(counts: dict[str, int]) -> None:
    total = sum(counts.values())
    if total == 0:
        with pytest.raises(ProtocolError, match="no member trained"):
            normalised_weights(counts, "tokens")
        return
    weights = normalised_weights(counts, "tokens")
    assert list(weights) == sorted(counts)
    for member, weight in weights.items():
        assert weight == float(Fraction(counts[member], total))
        assert float.fromhex(weight.hex()) == weight
    assert math.isclose(math.fsum(weights.values()), 1, abs_tol=1e-15)
    backwards = dict(reversed(counts.items()))
    assert normalised_weights(backwards, "tokens") == weights


def test_equal_weights_and_refusals() -> None:
    assert normalised_weights({"b": 5, "a": 0, "c": 1}, "equal") == dict.fromkeys("abc", 1 / 3)
    assert normalised_weights({}, "tokens") == normalised_weights({}, "equal") == {}
    with pytest.raises(ProtocolError, match="b reports -1 tokens"):
        normalised_weights({"a": 1, "b": -1}, "equal")
    with pytest.raises(RecipeError, match="'steps' is unknown"):
        normalised_weights({"a": 1}, "steps")  # type: ignore[arg-type]


def test_fedavg_is_the_weighted_mean_of_the_models() -> None:
    start, updates = vector(0), three()
    merged, state = FedAvg().merge(start, updates, {})
    models = [(u.weight, start.astype(np.float64) - u.delta) for u in updates]
    mean = sum(weight * model for weight, model in models)
    np.testing.assert_allclose(merged, mean, rtol=1e-6, atol=1e-7)
    assert state == {} and merged.dtype == np.float32
    # Value by value, with one rounding at the end: exact rational numbers agree.
    for i in range(0, N, 37):
        exact = Fraction(float(start[i])) - sum(
            Fraction(u.weight) * Fraction(float(u.delta[i])) for u in updates
        )
        assert merged[i] == np.float32(float(exact))


def test_one_member_with_fedavg_is_that_members_model() -> None:
    start, after = vector(0), vector(1)
    merged, _ = FedAvg().merge(start, [Contribution("a", 1.0, start - after)], {})
    np.testing.assert_allclose(merged, after, rtol=0, atol=1e-6)
    exact = np.float32(0.5) * start  # start - after is then without rounding
    merged, _ = FedAvg().merge(start, [Contribution("a", 1.0, start - exact)], {})
    assert merged.tobytes() == exact.tobytes()


@settings(deadline=None)
@given(st.integers(0, 10**6))
def test_diloco_with_rate_1_and_no_momentum_is_fedavg(seed: int) -> None:
    start = vector(seed)
    merged, state = DiLoCo(learning_rate=1.0, momentum=0.0).merge(start, three(seed), {})
    assert merged.tobytes() == FedAvg().merge(start, three(seed), {})[0].tobytes()
    assert list(state) == ["momentum"]


@pytest.mark.parametrize(("rate", "momentum"), [(0.7, 0.9), (1.0, 0.5), (0.1, 0.99)])
def test_diloco_is_torchs_nesterov_sgd(rate: float, momentum: float) -> None:
    values = vector(0)
    state: State = {}
    parameter = torch.nn.Parameter(torch.from_numpy(values.astype(np.float64)))
    optimizer = torch.optim.SGD([parameter], lr=rate, momentum=momentum, nesterov=True)
    for round_number in range(10):
        updates = three(10 * round_number)
        values, state = DiLoCo(rate, momentum).merge(values, updates, state)
        gradient = sum(u.weight * u.delta.astype(np.float64) for u in updates)
        parameter.grad = torch.from_numpy(gradient)
        optimizer.step()
        buffer = optimizer.state[parameter]["momentum_buffer"].numpy()
        np.testing.assert_allclose(values, parameter.detach().numpy(), rtol=0, atol=1e-6)
        np.testing.assert_allclose(state["momentum"], buffer, rtol=0, atol=1e-6)


def two_rounds(strategy: Strategy, first: Sequence[Contribution]) -> tuple[Vector, State]:
    values, state = strategy.merge(vector(0), first, {})
    return strategy.merge(values, three(50), state)


@pytest.mark.parametrize("strategy", ALL)
def test_the_order_of_arrival_changes_no_bit(strategy: Strategy) -> None:
    expected = two_rounds(strategy, three())
    for order in permutations(three()):
        assert same_bits(two_rounds(strategy, order), expected)
    # Where sums cancel, another order of addition would give another result.
    cancelling = [
        Contribution(member, 0.25, np.full(N, value, np.float32))
        for member, value in (("a", 3e37), ("b", 1.0), ("c", -3e37), ("d", 1.0))
    ]
    expected = two_rounds(strategy, cancelling)
    for order in permutations(cancelling):
        assert same_bits(two_rounds(strategy, order), expected)


@pytest.mark.parametrize("strategy", ALL)
@pytest.mark.parametrize("chunk", [1, 7, 512, N, N + 1])
def test_chunks_change_no_bit(
    strategy: Strategy, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = two_rounds(strategy, three())
    monkeypatch.setattr(base, "CHUNK", chunk)
    assert same_bits(two_rounds(strategy, three()), expected)


@pytest.mark.parametrize("strategy", ALL)
def test_merge_is_pure(strategy: Strategy) -> None:
    start, updates = vector(0), three()
    _, state = strategy.merge(start, updates, {})
    kept = [v.tobytes() for v in (start, *(u.delta for u in updates), *state.values())]
    once = strategy.merge(start, updates, state)
    assert same_bits(strategy.merge(start, updates, state), once)
    assert kept == [v.tobytes() for v in (start, *(u.delta for u in updates), *state.values())]
    once[0][:] = 0
    for values in once[1].values():
        values[:] = 0
    assert kept == [v.tobytes() for v in (start, *(u.delta for u in updates), *state.values())]


@pytest.mark.parametrize("strategy", ALL)
def test_without_updates_nothing_changes(strategy: Strategy) -> None:
    start = vector(0)
    assert same_bits(strategy.merge(start, [], {}), (start, {}))
    _, state = strategy.merge(start, three(), {})
    merged, after = strategy.merge(start, [], state)
    assert same_bits((merged, after), (start, state)) and merged is not start


def test_version_1_merges_stay_as_they_are() -> None:
    exact = ((np.arange(N) * 7919 % 1009 - 504) / 4096).astype(np.float32)
    updates = [
        Contribution("b", 0.7, (np.roll(exact, 3) / 8).astype(np.float32)),
        Contribution("a", 0.3, (np.roll(exact, 5) / 4).astype(np.float32)),
    ]
    found = {}
    for name, make in sorted(STRATEGIES.items()):
        values, state = make().merge(exact, updates, {})
        values, _ = make().merge(values, updates, state)
        found[name] = hashlib.sha256(values.astype("<f4").tobytes()).hexdigest()[:8]
    assert found == {"diloco": "2329eb92", "fedavg": "5936d75c"}


@pytest.mark.parametrize("strategy", ALL)
@pytest.mark.parametrize(
    ("update", "match"),
    [
        (Contribution("c", 0.1, vector(1)[:-1]), r"c's update is float32 of shape \(999,\)"),
        (Contribution("c", 0.1, vector(1).astype(np.float64)), "c's update is float64"),
        (Contribution("a", 0.1, vector(1)), "a is in this merge twice"),
        (Contribution("c", -0.1, vector(1)), "c's weight is -0.1"),
        (Contribution("c", math.nan, vector(1)), "c's weight is nan"),
        (Contribution("c", 100.0, vector(1)), "weights add up to"),
    ],
)
def test_updates_that_do_not_fit_are_refused(
    strategy: Strategy, update: Contribution, match: str
) -> None:
    good = Contribution("a", 0.5, vector(2))
    with pytest.raises(ProtocolError, match=match):
        strategy.merge(vector(0), [good, update], {})


@pytest.mark.parametrize("strategy", ALL)
@pytest.mark.parametrize("chunk", [256, 4096])
def test_what_is_not_finite_is_named(
    strategy: Strategy, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(base, "CHUNK", chunk)
    updates = three()
    updates[1].delta[600] = np.nan
    with pytest.raises(ProtocolError, match="value 600 of b's update is nan"):
        strategy.merge(vector(0), updates, {})
    start, large = vector(0), vector(1)
    start[700], large[700] = -3e38, 3e38
    with pytest.raises(ProtocolError, match="makes value 700 -"):
        strategy.merge(start, [Contribution("a", 1.0, large)], {})


def test_a_base_of_another_type_is_refused() -> None:
    wrong: list[Any] = [vector(0).astype(np.float64), vector(0).reshape(10, 100)]
    for start in wrong:
        with pytest.raises(ProtocolError, match="one flat float32 vector"):
            FedAvg().merge(start, three(), {})


def test_diloco_checks_its_settings_and_state() -> None:
    for rate, momentum in ((0.0, 0.9), (-1.0, 0.9), (math.nan, 0.9), (0.7, 1.0), (0.7, -0.1)):
        with pytest.raises(RecipeError, match="outer"):
            DiLoCo(rate, momentum)
    with pytest.raises(ProtocolError, match="no state"):
        DiLoCo().merge(vector(0), three(), {"second_moment": vector(1)})
    momenta: list[Any] = [vector(1)[:-1], vector(1).astype(np.float64)]
    for wrong in momenta:
        with pytest.raises(ProtocolError, match="the momentum is"):
            DiLoCo().merge(vector(0), three(), {"momentum": wrong})


def test_the_dict_makes_strategies_by_name() -> None:
    assert STRATEGIES["fedavg"]() == FedAvg()
    assert STRATEGIES["diloco"](learning_rate=0.5, momentum=0.8) == DiLoCo(0.5, 0.8)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(1, 10**9), min_size=1, max_size=6), st.integers(0, 1000))
def test_equal_updates_merge_to_themselves(counts: list[int], seed: int) -> None:
    start, delta = vector(seed), vector(seed + 1)
    weights = normalised_weights({f"m{i}": c for i, c in enumerate(counts)}, "tokens")
    updates = [Contribution(member, weight, delta) for member, weight in weights.items()]
    merged, _ = FedAvg().merge(start, updates, {})
    np.testing.assert_allclose(merged, start - delta, rtol=0, atol=1e-6)
