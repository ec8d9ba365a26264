"""What leaves a member: no sentence of its text, no private key."""

from __future__ import annotations

import re
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from llmos.models.bpe import byte_symbols

if TYPE_CHECKING:
    from tests.conftest import Joint

LONG, LONG_CHINESE = 32, 4


def clauses(folder: Path) -> set[str]:
    """Every run of more than 32 characters between marks, and of more than 4 Chinese ones."""
    found: set[str] = set()
    for path in folder.glob("*.txt"):
        text = path.read_text("utf-8")
        found |= {c.strip() for c in re.split(r"[.\n。，]", text) if len(c.strip()) > LONG}
        found |= set(re.findall(rf"[\u4e00-\u9fff]{{{LONG_CHINESE + 1},}}", text))
    return found


def written(clause: str) -> list[bytes]:
    """A clause as UTF-8, as escaped JSON, and in the symbols of a byte-level tokenizer."""
    symbols = "".join(byte_symbols()[byte] for byte in clause.encode())
    escaped = clause.encode("ascii", "backslashreplace")
    return [clause.encode(), escaped, escaped.upper(), symbols.encode()]


def leaks(folder: Path, of: set[str]) -> list[tuple[str, str]]:
    """Clauses that a shared file of a run holds."""
    shared = [path for path in (folder / "exchange").rglob("*") if path.is_file()]
    shared += [folder / "ledger.jsonl", folder / "log.jsonl", folder / "comparison.json"]
    shared += sorted((folder / "compare").iterdir()) + sorted((folder / "model").iterdir())
    assert len(shared) > 60
    found = []
    for path in shared:
        data = path.read_bytes()
        found += [(path.name, c) for c in of if any(form in data for form in written(c))]
    return found


def test_no_clause_of_a_members_text_is_shared(joint: Joint, tmp_path: Path) -> None:
    told = set().union(*(clauses(path) for path in joint.members.values()))
    assert len(told) > 150
    assert any("carried the" in c for c in told) and any("把" in c for c in told)
    assert leaks(joint.folder, told) == []
    # The search finds a clause where there is one.
    copy = joint.copy(tmp_path / "run")
    clause = next(c for c in told if "把" in c)
    (copy / "exchange" / "notes").write_bytes(b'{"a":"' + written(clause)[1] + b'"}')
    assert leaks(copy, told) == [("notes", clause)]


def test_a_rare_word_stays_at_home(joint: Joint, tmp_path: Path) -> None:
    home = tmp_path / "anna"
    home.mkdir()
    for path in joint.members["anna"].iterdir():
        (home / path.name).write_bytes(path.read_bytes())
    (home / "secret.txt").write_text("The password is Xylophon9x17. It is Xylophon9x17.\n")
    folder = tmp_path / "run"
    members = {"anna": home, "ben": joint.members["ben"]}
    from llmos.federation.local import train

    train(joint.recipe, out=folder, members=members)
    for path in [*(folder / "exchange").rglob("*"), *(folder / "model").rglob("*")]:
        if path.is_file():
            assert b"Xylophon" not in path.read_bytes(), path


def test_private_keys_are_for_their_owner_and_not_shared(joint: Joint) -> None:
    keys = sorted(joint.folder.rglob("key.pem"))
    assert [path.parent.name for path in keys] == ["coordinator", "anna", "ben"]
    for path in keys:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        (secret,) = re.findall(r"-----\n(.{20,})\n-----", path.read_text())
        for other in joint.folder.rglob("*"):
            if other.is_file() and other != path:
                assert secret.encode() not in other.read_bytes(), other


def test_optimizer_state_stays_in_the_members_homes(joint: Joint) -> None:
    states = {path.parent.name for path in joint.folder.rglob("state-*")}
    assert states == {"anna", "ben"}
