"""`llmos train --publish` and `llmos publish` against a hub, with real clients."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from huggingface_hub import HfApi, snapshot_download
from transformers import AutoModelForCausalLM, AutoTokenizer

from llmos.data.card import card_sha256, read_card
from llmos.evaluation.subject import model_sha256
from llmos.hub.database.tables import repos
from llmos.provenance.ledger import Ledger

if TYPE_CHECKING:
    from tests.conftest import Joint
    from tests.hub.conftest import World

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(joint: Joint, tmp_path: Path) -> Path:
    return joint.copy(tmp_path / "run")


@pytest.fixture(autouse=True)
def _no_login(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No token of this machine's user; offline, as our commands keep huggingface_hub."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "no-token"))


def test_a_finished_run_is_published_whole(
    run: Path,
    joint: Joint,
    llmos: Command,
    world: World,
    live: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setenv("HF_TOKEN", world.tokens["alice"])
    code, printed, error = llmos("publish", str(run), f"{live}/acme/tiny")
    assert code == 0, error
    assert f"published: {live}/acme/tiny" in printed and "ledger verified there" in printed

    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    api = HfApi(endpoint=live, token=world.tokens["alice"])
    commits = api.list_repo_commits("acme/tiny")
    assert commits[0].title == "Publish the run tiny"
    assert len(commits) == 2  # all of it in one commit, after the first one
    folder = Path(snapshot_download("acme/tiny", endpoint=live, local_dir=tmp_path / "down"))
    for path in (run / "model").iterdir():
        assert (folder / path.name).read_bytes() == path.read_bytes()
    assert (folder / "ledger.jsonl").read_bytes() == (run / "ledger.jsonl").read_bytes()
    model = AutoModelForCausalLM.from_pretrained(folder)
    assert model.num_parameters() > 0 and AutoTokenizer.from_pretrained(folder)

    state = world.ask("GET", "/api/runs/acme/tiny/state").json()
    head = Ledger.open(run / "ledger.jsonl").head
    assert (state["state"], state["ledger"]["verified"], state["ledger"]["head"]) == (
        "done",
        True,
        head,
    )
    assert len(world.ask("GET", "/api/runs/acme/tiny/progress").json()["points"]) >= 3
    (result,) = world.ask("GET", "/api/results?model=acme/tiny").json()
    assert result["model_sha256"] == model_sha256(run / "model")
    assert {part["name"] for part in result["benchmarks"]} == {"held-out/anna", "held-out/ben"}
    tables = world.ask("GET", "/api/leaderboard").json()["tables"]
    assert {table["entries"][0]["repository"] for table in tables} == {"acme/tiny"}
    line = world.ask("GET", "/api/models/acme/tiny/lineage").json()
    assert {"source": "run:acme/tiny", "target": "model:acme/tiny", "relation": "run"} in line[
        "edges"
    ]

    taken = refused(llmos, "publish", str(run), f"{live}/acme/tiny", "--private")
    assert "everybody may see it" in taken
    code, printed, error = llmos("publish", str(run), f"{live}/acme/tiny")
    assert code == 0, error
    assert len(api.list_repo_commits("acme/tiny")) == 2  # nothing had changed


def test_a_run_is_told_and_published_while_it_trains(
    joint: Joint,
    llmos: Command,
    world: World,
    live: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setenv("HF_TOKEN", world.tokens["alice"])
    out = tmp_path / "out"
    code, _, error = llmos(*joint.arguments(out, "--publish", f"{live}/acme/told"))
    assert code == 0, error
    state = world.ask("GET", "/api/runs/acme/told/state").json()
    assert state["state"] == "done" and state["ledger"]["verified"]
    points = world.ask("GET", "/api/runs/acme/told/progress").json()["points"]
    assert [point["round"] for point in points] == [0, 1, 2, 3]
    assert all("loss" in point["values"] for point in points[1:])


def refused(llmos: Command, *arguments: str) -> str:
    code, _, error = llmos(*arguments)
    assert code == 2 and error.count("\n") == 1
    return error


def test_what_is_wrong_is_told_before_training(
    joint: Joint,
    llmos: Command,
    world: World,
    live: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    out = tmp_path / "out"
    place = f"{live}/acme/tiny"
    assert "no place on a hub" in refused(llmos, *joint.arguments(out, "--publish", "acme/tiny"))
    assert "no token" in refused(llmos, *joint.arguments(out, "--publish", place))
    monkeypatch.setenv("HF_TOKEN", "hf_of_another_hub")
    assert "does not know the token" in refused(llmos, *joint.arguments(out, "--publish", place))
    monkeypatch.setenv("HF_TOKEN", world.tokens["bob"])
    assert "rights" in refused(llmos, *joint.arguments(out, "--publish", place))
    monkeypatch.setenv("HF_TOKEN", world.tokens["alice"])
    other = joint.recipe.with_values({"seed": 9}).to_toml()
    plan = {"name": "acme/tiny", "recipe": other}
    assert world.ask("POST", "/api/runs", "alice", json=plan).status_code == 201
    assert "another recipe" in refused(llmos, *joint.arguments(out, "--publish", place))
    assert not out.exists()


def test_a_hub_that_is_away_costs_nothing(
    joint: Joint,
    llmos: Command,
    world: World,
    live: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        away = f"http://127.0.0.1:{probe.getsockname()[1]}"
    monkeypatch.setenv("HF_TOKEN", world.tokens["alice"])
    out = tmp_path / "out"
    code, printed, error = llmos(*joint.arguments(out, "--publish", f"{away}/acme/late"))
    assert code == 2
    assert "nothing of the run is lost" in error and f"llmos publish {out}" in error
    assert "cannot be reached" in error and "the run begins all the same" in error
    assert f"model: {out / 'model'}" in printed  # the run itself is whole
    assert joint.result(out).items() <= joint.result(joint.folder).items()
    code, printed, error = llmos("publish", str(out), f"{live}/acme/late")
    assert code == 0, error
    assert world.ask("GET", "/api/runs/acme/late/state").json()["state"] == "done"


def test_a_run_that_is_not_finished_or_none_is_refused(
    run: Path, llmos: Command, world: World, live: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", world.tokens["alice"])
    lines = (run / "ledger.jsonl").read_bytes().splitlines(keepends=True)
    (run / "ledger.jsonl").write_bytes(b"".join(lines[: len(lines) // 2]))
    assert "not finished" in refused(llmos, "publish", str(run), f"{live}/acme/half")
    assert "does not exist" in refused(llmos, "publish", str(run / "nowhere"), f"{live}/acme/x")


def test_further_results_go_with_it(
    run: Path,
    llmos: Command,
    world: World,
    live: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setenv("HF_TOKEN", world.tokens["alice"])
    assert "no file" in refused(
        llmos, "publish", str(run), f"{live}/acme/tiny", "--result", str(tmp_path / "none.json")
    )
    tampered = tmp_path / "tampered.json"
    tampered.write_text(json.dumps({"benchmarks": [], "signature": "0" * 128, "signer": "0" * 64}))
    code, _, error = llmos(
        "publish", str(run), f"{live}/acme/tiny", "--result", str(tampered), "--private"
    )
    assert code == 0, error
    assert len(world.ask("GET", "/api/results", "alice").json()) == 1  # not the tampered one
    hidden = world.ask("GET", "/api/results").json()
    assert hidden == []  # the model is private
    assert world.ask("GET", "/api/runs/acme/tiny/state", "bob").status_code == 404
    assert world.ask("GET", "/acme/tiny/resolve/main/config.json").status_code == 401


def test_a_federated_data_set_is_registered_and_found_by_its_card(
    joint: Joint,
    llmos: Command,
    world: World,
    live: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setenv("HF_TOKEN", world.tokens["alice"])
    prepared, rules = tmp_path / "prepared", tmp_path / "rules.toml"
    rules.write_text('name = "rules"\n[preparation]\nquality = []\nnear_duplicates = false\n')
    source = str(joint.members["anna"])
    code, _, error = llmos(
        "data", "prepare", source, "--out", str(prepared), "--recipe", str(rules)
    )
    assert code == 0, error
    place = ["--hub", f"{live}/acme/letters"]
    shared = ["data", "publish", str(prepared), "--level", "federated", *place]
    code, printed, error = llmos(*shared, "--to", str(tmp_path / "out"))
    assert code == 0, error
    assert f"registered: {live}/datasets/acme/letters" in printed
    about = world.ask("GET", "/api/datasets/acme/letters?expand=sharing", "alice").json()
    assert about["sharing"] == "federated"
    names = world.ask("GET", "/api/datasets/acme/letters/tree/main", "alice").json()
    assert {one["path"] for one in names} == {".gitattributes", "README.md", "card.json"}
    with world.hub.database.read() as connection:
        (digest,) = connection.scalars(
            repos.select().with_only_columns(repos.c.content_sha256)
        ).all()
    assert digest == card_sha256(read_card(prepared))
    code, _, error = llmos(
        *[*shared[:4], "metadata", "--contact", "us", *place], "--to", str(tmp_path / "more")
    )
    assert code == 2 and "shared as federated" in error
