"""What a run's ledger shows by itself, without the folder: no arrays, no files, no PyTorch.

So anybody who was sent a ledger can check it; `llmos verify` adds what needs the run's folder, such
as every merge computed again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from llmos.errors import LLMOSError
from llmos.provenance.ledger import Entry
from llmos.provenance.manifests import check_evaluation, check_join, mean_bits_per_byte
from llmos.provenance.run_state import RunState
from llmos.provenance.signing import verify
from llmos.recipe import recipe_from_dict
from llmos.records import canonical_json
from llmos.storage import sha256_hex

ALONE = "alone_opened"
"""The first entry of a run of one organisation."""
ALONE_ORDER = (ALONE, "prepared", "trained", "published")
CANNOT_PROVE = (
    "that members trained honestly, on the text that their data cards describe",
    "that token counts, losses and evaluation sums are true: each is its member's signed word",
    "that the members are who they say: keys were trusted when they were admitted",
    "where a base comes from: its weights are pinned, not who made them of what",
    "that nothing was tried in secret before this run, or left out of it",
    "what logs and members' private state say, or that the comparison was trained as it states",
)
ALONE_CANNOT_PROVE = (
    "that the training was done as the ledger says, or on the text that the data card describes",
    "that nobody with the key wrote the whole ledger anew: no other organisation keeps its heads",
)

Problems = Iterator[str]


@dataclass(frozen=True)
class Check:
    """One thing that was checked: what, how much of it, and the problems found."""

    name: str
    detail: str
    problems: tuple[str, ...] = ()


class Checked:
    """What has `checks`: all that is wrong, and whether nothing is."""

    checks: Sequence[Check]

    @property
    def problems(self) -> list[str]:
        """All that is wrong, one line each."""
        return [problem for check in self.checks for problem in check.problems]

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems


def fold(entries: Sequence[Entry], state: RunState) -> Check:
    """Take the entries into `state`, as far as they follow one another."""
    problems = []
    for entry in entries:
        try:
            state.apply(entry)
        except LLMOSError as error:
            problems.append(str(error))
            break
    return Check("order", f"the run is in phase {state.phase}", tuple(problems))


class LedgerChecks:
    """The checks of a joint run's entries; each yields problems, and counts what it looked at."""

    def __init__(self, entries: Sequence[Entry], state: RunState) -> None:
        """`state` has taken in the entries (see `fold`)."""
        self.entries = entries
        self.state = state
        self.counted = 0

    def check(self, name: str, detail: str, find: Callable[[], Problems]) -> Check:
        """The outcome of `find`; what it cannot read is a problem too."""
        self.counted = 0
        try:
            problems = tuple(find())
        except (LLMOSError, OSError, LookupError, TypeError, ValueError, AttributeError) as error:
            problems = (f"{name}: cannot be checked: {type(error).__name__}: {error}",)
        return Check(name, f"{self.counted} {detail}", problems)

    def recipe(self) -> Problems:
        """The recipe in the first entry has the sha256 that was agreed."""
        opened = self.entries[0].body
        self.counted += 1
        if recipe_from_dict(opened["recipe"]).sha256() != opened["recipe_sha256"]:
            yield "ledger.jsonl: the recipe in entry 0 does not have the sha256 stated there"

    def admissions(self) -> Problems:
        """Who was admitted was awaited, and signed this recipe and a data card."""
        for entry in self.entries:
            if entry.kind != "member_admitted":
                continue
            self.counted += 1
            name = str(entry.body["join"].get("member"))
            if name not in self.state.expected:
                yield f"entry {entry.index}: {name[:40]!r} is not among the members of the run"
            try:
                check_join(entry.body["join"], self.state)
            except LLMOSError as error:
                yield f"entry {entry.index}: {error}"

    def signatures(self) -> Problems:
        """Every object of a member is signed by the key that was admitted, for this run."""
        before: set[str] = set()
        for entry in self.entries:
            for kind, signed in member_objects(entry):
                self.counted += 1
                name = str(signed.get("member"))
                admitted = self.state.members.get(name)
                if admitted is None:
                    yield f"entry {entry.index}: {name[:40]!r} was never admitted"
                    continue
                try:
                    verify(kind, signed, admitted.public_key)
                except LLMOSError as error:
                    yield f"entry {entry.index}: {error}"
                if signed.get("run_id") != self.state.run_id:
                    yield f"entry {entry.index}: the {kind} of {name} belongs to another run"
                if kind == "update" and signed.get("ledger_head") not in before:
                    yield f"entry {entry.index}: {name} had seen another ledger than this one"
            before.add(entry.hash)

    def closing(self) -> Problems:
        """The last entry is signed off by all members."""
        last = self.entries[-1]
        if last.kind != "closed":
            yield (
                f"ledger.jsonl ends at entry {last.index} ({last.kind}) without a closing entry: "
                "the run is unfinished (llmos train --resume), or its end was removed"
            )
            return
        signed_by = set()
        for statement in last.body["statements"]:
            self.counted += 1
            signed_by.add(statement["member"])
            if statement["head"] != last.previous:
                yield f"{statement['member']} signed off another ledger than this one"
        for name in sorted(set(self.state.members) - signed_by):
            yield f"the closing entry lacks the signature of {name}"

    def selection(self) -> Problems:
        """Every mean again from the members' sums, and the choice that follows from the recipe."""
        state = self.state
        select = self.entries[0].body["recipe"]["evaluation"]["select"]
        means: dict[int, float] = {}
        for entry in self.entries:
            body = entry.body
            if entry.kind in ("evaluated", "tested"):
                split = "validation" if entry.kind == "evaluated" else "test"
                for signed in body["evaluations"]:
                    self.counted += 1
                    check_evaluation(signed, split, body["round"], state.weights[body["round"]])
                mean = mean_bits_per_byte([signed["scores"] for signed in body["evaluations"]])
                if mean != body["mean_bits_per_byte"]:
                    yield f"entry {entry.index}: the mean does not follow from the members' sums"
                if split == "validation" and mean is not None:
                    means[body["round"]] = mean
            elif entry.kind == "selected":
                best = min(means, key=lambda r: (means[r], r)) if means else state.rounds
                chosen = best if select == "best" else state.rounds
                if body["round"] != chosen:
                    yield (
                        f"entry {entry.index}: round {body['round']} was selected, "
                        f"but by the recipe it is round {chosen}"
                    )


def member_objects(entry: Entry) -> Iterator[tuple[str, dict[str, Any]]]:
    """The signed objects of members inside an entry, with their kind."""
    body = entry.body
    if entry.kind == "member_admitted":
        yield "join", body["join"]
    elif entry.kind in ("update_accepted", "update_declined"):
        yield "update", body["update"]
    elif entry.kind in ("evaluated", "tested"):
        for signed in body["evaluations"]:
            yield "evaluation", signed
    elif entry.kind == "closed":
        for signed in body["statements"]:
            yield "closing", signed


def alone_order(kinds: Sequence[str]) -> Problems:
    """The entries of a run alone come in their order."""
    if tuple(kinds) != ALONE_ORDER[: len(kinds)]:
        yield f"the entries are {', '.join(kinds)}, not {', '.join(ALONE_ORDER)}"


def alone_recipe(opened: Entry) -> Problems:
    """The recipe in the first entry has the sha256 that it states."""
    try:
        found = recipe_from_dict(opened.body["recipe"]).sha256()
        if found != opened.body["recipe_sha256"]:
            yield f"the recipe in entry 0 has sha256 {found[:16]}, not the one it states"
    except (LLMOSError, KeyError, TypeError, AttributeError) as error:
        yield f"the recipe cannot be checked: {error}"


def alone_card(opened: Entry) -> Problems:
    """The data card in the first entry has the sha256 that it states."""
    try:
        if sha256_hex(canonical_json(opened.body["card"])) != opened.body["card_sha256"]:
            yield "the data card in entry 0 does not have the sha256 it states"
    except KeyError as error:
        yield f"entry 0 lacks {error}"
