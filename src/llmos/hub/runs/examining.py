"""A run's ledger, examined as far as that goes without the run's folder, and told in words."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from llmos.provenance.ledger import Entry, check_ledger_bytes
from llmos.provenance.run_checks import (
    ALONE,
    ALONE_CANNOT_PROVE,
    ALONE_ORDER,
    CANNOT_PROVE,
    Check,
    Checked,
    LedgerChecks,
    alone_card,
    alone_order,
    alone_recipe,
    fold,
)
from llmos.provenance.run_state import RunState

LARGEST = 64 << 20  # bytes of a ledger
ALONE_MEMBER = "alone"
NOT_HERE = "that the merges and the published files are what the ledger says: llmos verify RUN does"
OPEN_END = "that nothing was cut off its end: the ledger is not closed yet"
Values = dict[str, float | int]


@dataclass(frozen=True, slots=True)
class Share:
    """A member's part in a run, as the ledger tells it; `rounds`: or steps, where it was alone;
    `card` is its data card."""

    name: str
    public_key: str
    tokens: int
    rounds: int
    card: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Examined(Checked):
    """What a ledger shows. `points` are figures by round; `ok`: no check found a problem."""

    checks: tuple[Check, ...]
    cannot_prove: tuple[str, ...]
    head: str = ""
    entries: int = 0
    coordinator: str = ""  # public key
    recipe_sha256: str = ""
    finished: bool = False
    round: int = 0
    rounds: int = 0
    unit: str = "round"  # of these two and of `points`; of one organisation alone: "step"
    members: tuple[Share, ...] = ()
    points: dict[int, Values] = field(default_factory=dict)

    @property
    def verdict(self) -> str:
        """What was checked, what was found, and what cannot be proved: a line each."""
        lines = [
            f"{'FAILED' if check.problems else 'ok'}: {check.name}: {check.detail}"
            for check in self.checks
        ]
        lines += [f"problem: {problem}" for problem in self.problems[:20]]
        return "\n".join([*lines, *(f"not proved: {limit}" for limit in self.cannot_prove)])


def examine(data: bytes) -> Examined:
    """Check a ledger: its chain, order, recipe, admissions, members' signatures, selection."""
    entries, problems = check_ledger_bytes(data)
    if not entries and not problems:
        problems = ["the ledger is empty"]
    chain = Check("chain", f"{len(entries)} entries, hash-chained and signed", tuple(problems))
    if not entries:
        return Examined((chain,), CANNOT_PROVE)
    found = _alone(entries) if entries[0].kind == ALONE else _joint(entries)
    checks = (chain, *found.checks)
    return replace(found, checks=checks, head=entries[-1].hash, entries=len(entries))


def _joint(entries: Sequence[Entry]) -> Examined:
    state = RunState()
    order = fold(entries, state)
    run = LedgerChecks(entries, state)
    checks = [
        order,
        run.check("recipe", "recipe that was agreed", run.recipe),
        run.check("admission", "members admitted", run.admissions),
        run.check("members' signatures", "objects that members signed", run.signatures),
        run.check("selection", "evaluations and the choice", run.selection),
    ]
    finished = state.phase == "closed"
    limits: tuple[str, ...] = (NOT_HERE, *CANNOT_PROVE)
    if finished:
        checks.append(run.check("closing", "signed by all members", run.closing))
    else:
        limits = (OPEN_END, *limits)
    sound = not any(check.problems for check in checks)
    return Examined(
        tuple(checks),
        limits,
        coordinator=state.coordinator,
        recipe_sha256=state.recipe_sha256,
        finished=finished,
        round=state.round,
        rounds=state.rounds,
        members=tuple(_shares(entries, state)) if sound else (),
        points=_points(entries) if sound else {},
    )


def _shares(entries: Sequence[Entry], state: RunState) -> Iterator[Share]:
    accepted = [e.body["update"] for e in entries if e.kind == "update_accepted"]
    for name, admitted in sorted(state.members.items()):
        own = [update for update in accepted if update["member"] == name]
        tokens = sum(_whole(update.get("tokens")) for update in own)
        yield Share(name, admitted.public_key, tokens, len(own), admitted.card)


def _points(entries: Sequence[Entry]) -> dict[int, Values]:
    """Loss (mean over tokens), tokens and members of each round; held-out bits per byte."""
    found: dict[int, Values] = {}
    losses: dict[int, list[tuple[int, float]]] = {}
    for entry in entries:
        body = entry.body
        if entry.kind == "update_accepted":
            update = body["update"]
            pair = (_whole(update.get("tokens")), float(update["loss_nats_per_token"]))
            losses.setdefault(int(update["round"]), []).append(pair)
        elif entry.kind == "evaluated" and body["mean_bits_per_byte"] is not None:
            found.setdefault(int(body["round"]), {})["bits_per_byte"] = body["mean_bits_per_byte"]
    for number, pairs in losses.items():
        tokens = sum(count for count, _ in pairs)
        values = found.setdefault(number, {})
        values |= {"tokens": tokens, "members": len(pairs)}
        if tokens:
            values["loss"] = math.fsum(count * loss for count, loss in pairs) / tokens
    return found


def _whole(value: object) -> int:
    return value if type(value) is int and 0 <= value < 2**53 else 0


def _alone(entries: Sequence[Entry]) -> Examined:
    kinds = [entry.kind for entry in entries]
    opened, bodies = entries[0], {entry.kind: entry.body for entry in entries}
    finished = tuple(kinds) == ALONE_ORDER
    checks = (
        Check("order", "finished" if finished else f"at {kinds[-1]}", tuple(alone_order(kinds))),
        Check("recipe", "its sha256", tuple(alone_recipe(opened))),
        Check("data card", "its sha256", tuple(alone_card(opened))),
    )
    shares: tuple[Share, ...] = ()
    steps = 0
    points: dict[int, Values] = {}
    if not any(check.problems for check in checks):
        trained = bodies.get("trained", {})
        steps = _whole(trained.get("steps"))
        tokens = _whole(trained.get("tokens"))
        shares = (Share(ALONE_MEMBER, opened.signer, tokens, steps, opened.body["card"]),)
        points = _alone_points(trained)
    return Examined(
        checks,
        (NOT_HERE, *ALONE_CANNOT_PROVE),
        coordinator=opened.signer,
        recipe_sha256=str(opened.body.get("recipe_sha256", "")),
        finished=finished,
        round=steps,
        rounds=steps,
        unit="step",
        members=shares,
        points=points,
    )


def _alone_points(trained: Mapping[str, Any]) -> dict[int, Values]:
    """Held-out bits per byte at the step whose weights were chosen; the ledger has no others."""
    bits = trained.get("validation_bits_per_byte")
    if not isinstance(bits, int | float) or not math.isfinite(bits):
        return {}
    return {_whole(trained.get("selected_step")): {"bits_per_byte": bits}}
