"""A run driven step by step, so that tests can put bad objects between the steps."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from llmos.federation.coordinator import Coordinator
from llmos.federation.exchange.directory import DirectoryExchange
from llmos.federation.finish import finish
from llmos.federation.member import Member
from llmos.provenance.ledger import Entry
from llmos.provenance.signing import SigningKey, sign
from llmos.records import canonical_json
from llmos.training.loop import use_deterministic
from llmos.training.material import Material

if TYPE_CHECKING:
    from tests.conftest import Joint


@dataclass
class Stage:
    """A coordinator and its members over one exchange."""

    folder: Path
    exchange: DirectoryExchange
    coordinator: Coordinator
    members: dict[str, Member]
    texts: dict[str, Path]

    @property
    def entries(self) -> list[Entry]:
        return self.coordinator.ledger.entries

    def kinds(self, kind: str) -> list[dict[str, Any]]:
        """The bodies of all entries of a kind."""
        return [entry.body for entry in self.entries if entry.kind == kind]

    def until(self, holds: Callable[[], bool]) -> None:
        """Step the coordinator and all members until `holds()`; fails when nothing moves."""
        while not holds():
            moved = self.coordinator.step()
            for member in self.members.values():
                if holds():
                    return
                moved = member.step() or moved
            if self.coordinator.state.phase == "publishing":
                finish(self.coordinator, {n: str(p) for n, p in self.texts.items()}, compare=False)
                moved = True
            assert moved or holds(), "the run stands still"

    def until_posted(self, key: str) -> None:
        """Step until an object lies under `key`, before the coordinator has looked at it."""
        self.until(lambda: self.exchange.get(key) is not None)

    def close(self) -> None:
        """Step to the end of the run, and let every member see it."""
        self.until(lambda: all(m.state.phase == "closed" for m in self.members.values()))

    def change(self, key: str, kind: str, signer: SigningKey, **changes: Any) -> None:
        """Replace parts of a posted object (None: leave the part out) and sign it again."""
        body = json.loads(self.exchange.get(key) or b"{}")
        body = {k: v for k, v in body.items() if k not in ("signer", "signature")} | changes
        body = {k: v for k, v in body.items() if v is not None}
        self.exchange.put(key, canonical_json(sign(signer, kind, body)))


@pytest.fixture(scope="session")
def materials(joint: Joint) -> dict[str, Material]:
    return {name: Material(path, joint.recipe) for name, path in joint.members.items()}


def _open(joint: Joint, materials: dict[str, Material], folder: Path) -> Stage:
    use_deterministic(1)
    exchange = DirectoryExchange(folder / "exchange")
    if (folder / "ledger.jsonl").exists():
        coordinator = Coordinator.open(folder, exchange)
    else:
        coordinator = Coordinator.start(folder, exchange, sorted(joint.members))
    members = {
        name: Member(folder / "members" / name, name, path, exchange, material=materials[name])
        for name, path in joint.members.items()
    }
    return Stage(folder, exchange, coordinator, members, joint.members)


def _begin(joint: Joint, folder: Path, settings: dict[str, Any]) -> None:
    named = {"agreement.members": sorted(joint.members)}
    text = joint.recipe.with_values({**named, **settings}).to_toml()
    for place in (folder, *(folder / "members" / name for name in joint.members)):
        place.mkdir(parents=True)
        (place / "recipe.toml").write_text(text)


@pytest.fixture
def stage(joint: Joint, materials: dict[str, Material], tmp_path: Path) -> Callable[..., Stage]:
    """`stage({"compression.codec": "fp32"})`: a run that has been opened, nobody has joined."""

    def build(settings: dict[str, Any] | None = None) -> Stage:
        _begin(joint, tmp_path / "stage", settings or {})
        return _open(joint, materials, tmp_path / "stage")

    return build


@pytest.fixture(scope="session")
def _in_round_2(
    joint: Joint, materials: dict[str, Material], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    folder = tmp_path_factory.mktemp("round") / "stage"
    _begin(joint, folder, {})
    _open(joint, materials, folder).until_posted("updates/00002/ben")
    return folder


@pytest.fixture
def in_round_2(
    joint: Joint, materials: dict[str, Material], _in_round_2: Path, tmp_path: Path
) -> Stage:
    """A run in round 2: both members have posted, the coordinator has not looked at Ben's yet."""
    shutil.copytree(_in_round_2, tmp_path / "round-2")
    return _open(joint, materials, tmp_path / "round-2")
