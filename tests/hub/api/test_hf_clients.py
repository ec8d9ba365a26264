"""huggingface_hub and `hf` against a hub that listens: only the address is set."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import HfApi, constants
from huggingface_hub.errors import (
    BadRequestError,
    GatedRepoError,
    HfHubHTTPError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)


@pytest.fixture(autouse=True)
def online(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)


@pytest.fixture
def api(world: Any, live: str) -> HfApi:
    return HfApi(endpoint=live, token=world.tokens["alice"])


@pytest.fixture
def others(world: Any, live: str) -> HfApi:
    return HfApi(endpoint=live, token=world.tokens["bob"])


def test_a_repository_from_its_making_to_its_end(api: HfApi, others: HfApi) -> None:
    url = api.create_repo("acme/m", private=True)
    assert (url.repo_id, url.repo_type) == ("acme/m", "model")
    assert api.create_repo("acme/m", exist_ok=True).repo_id == "acme/m"
    with pytest.raises(HfHubHTTPError, match="already created"):
        api.create_repo("acme/m")
    for missing in ("acme/m", "acme/none"):
        with pytest.raises(RepositoryNotFoundError):
            others.model_info(missing)
        with pytest.raises(RepositoryNotFoundError):
            HfApi(endpoint=others.endpoint, token=False).model_info(missing)
    api.update_repo_settings("acme/m", visibility="public", gated="auto")
    assert others.model_info("ACME/M").gated == "auto"
    with pytest.raises(GatedRepoError):
        others.auth_check("acme/m")
    with pytest.raises(HfHubHTTPError, match="write access"):
        others.update_repo_settings("acme/m", private=True)
    with pytest.raises(RevisionNotFoundError):
        api.model_info("acme/m", revision="none")
    api.move_repo("acme/m", "alice/n")
    assert api.model_info("acme/m").id == "alice/n"
    assert api.duplicate_repo("alice/n", "acme/copy").repo_id == "acme/copy"
    api.delete_repo("acme/m")  # by its old name
    assert not api.repo_exists("alice/n")
    api.delete_repo("alice/n", missing_ok=True)


def test_lists_and_details(api: HfApi) -> None:
    api.create_repo("acme/text", repo_type="dataset")
    card = b"---\nlicense: mit\nlanguage: zh\ntask_categories: [translation]\n---\nText.\n"
    commit = {"path_or_fileobj": card, "path_in_repo": "README.md"}
    api.upload_file(repo_id="acme/text", repo_type="dataset", **commit)
    for wanted in (
        {"language": "zh"},
        {"task_categories": "translation"},
        {"filter": ["license:mit", "language:zh"]},
        {"search": "TEXT", "author": "acme", "gated": False, "sort": "trending_score"},
    ):
        (found,) = api.list_datasets(**wanted, full=True)
        assert (found.id, found.card_data.license) == ("acme/text", "mit")
    assert list(api.list_datasets(language="en")) == []
    told = api.dataset_info("acme/text", files_metadata=True)
    sizes = {file.rfilename: file.size for file in told.siblings}
    assert sizes["README.md"] == len(card)
    assert told.last_modified >= told.created_at
    expanded = api.dataset_info("acme/text", expand=["description", "mainSize", "usedStorage"])
    assert expanded.description == "Text."
    assert expanded.main_size == sum(sizes.values()) == expanded.used_storage
    with pytest.raises(BadRequestError):
        api.dataset_info("acme/text", expand=["gguf"])  # type: ignore[list-item]


def test_models_find_their_data_and_their_base(api: HfApi) -> None:
    for name, head in (("base", "library_name: llmos"), ("tuned", "base_model: acme/base")):
        api.create_repo(f"acme/{name}")
        content = f"---\n{head}\ndatasets: acme/text\npipeline_tag: translation\n---\n".encode()
        api.upload_file(path_or_fileobj=content, path_in_repo="README.md", repo_id=f"acme/{name}")
    found = {one.id for one in api.list_models(trained_dataset="acme/text")}
    assert found == {"acme/base", "acme/tuned"}
    assert len(list(api.list_models(pipeline_tag="translation", limit=1))) == 1
    (llmos,) = api.list_models(filter="llmos")
    assert llmos.library_name == "llmos"
    told = api.model_info("acme/base", expand=["childrenModelCount"])
    assert told.children_model_count == 1
    told = api.model_info("acme/tuned", expand=["baseModels"])
    assert told.base_models == {"relation": "finetune", "models": [{"id": "acme/base"}]}
    assert list(api.list_models(inference="warm")) == []


def test_people(api: HfApi, others: HfApi, world: Any) -> None:
    api.create_repo("acme/m")
    world.ask("POST", "/api/models/acme/m/like", "bob")
    assert others.list_liked_repos().models == ["acme/m"]
    assert [one.username for one in api.list_repo_likers("acme/m")] == ["bob"]
    others.unlike("acme/m")
    assert api.model_info("acme/m").likes == 0
    assert api.get_organization_overview("acme").num_models == 1
    assert api.get_user_overview("alice").orgs[0].name == "acme"
    assert [one.username for one in api.list_organization_members("acme")] == ["alice"]
    assert list(api.list_organization_followers("acme")) == []
    (stored,) = api.list_user_repos(namespace="acme")
    assert (stored.id, stored.type, stored.storage_percent) == ("acme/m", "model", 1)


def test_the_command_line(world: Any, live: str, tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "HF_ENDPOINT": live,
        "HF_TOKEN": world.tokens["alice"],
        "HF_HOME": str(tmp_path),
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_OFFLINE": "0",
    }
    hf = Path(sys.executable).with_name("hf")

    def run(*words: str) -> str:
        done = subprocess.run(
            [hf, *words], env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    assert "alice" in run("auth", "whoami")
    run("repos", "create", "acme/m", "--private")
    run("repos", "settings", "acme/m", "--public")
    listed = json.loads(run("repos", "ls", "--namespace", "acme", "--format", "json"))
    assert [(one["id"], one["visibility"]) for one in listed] == [("acme/m", "public")]
    run("repos", "move", "acme/m", "acme/n")
    (found,) = json.loads(run("models", "ls", "--search", "n", "--format", "json"))
    assert found["id"] == "acme/n"
    run("repos", "delete", "acme/n", "--yes")
