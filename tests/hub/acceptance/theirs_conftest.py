"""What huggingface_hub's own tests need around them, written anew for a hub of ours: their source
archive leaves their conftest.py out. The runner puts this file beside a copy of their tests.

The endpoint that they take for the staging hub is that of HF_ENDPOINT. Tests that left_out.py
names are deselected and counted.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import HfApi, RepoUrl, constants
from huggingface_hub.utils import _detect_agent

from . import left_out, testing_constants
from .testing_utils import repo_name

testing_constants.ENDPOINT_STAGING = os.environ["HF_ENDPOINT"]
collect_ignore = list(left_out.FILES)
MARKS = ("api", "transfer", "inference", "xet", "no_xet", "production", "deprecated", "git_lfs")


def pytest_configure(config: pytest.Config) -> None:
    """Name the marks that they use."""
    for name in (*MARKS, "vcr", "asyncio"):
        config.addinivalue_line("markers", f"{name}: one of huggingface_hub's")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Take out what needs a service that a hub of ours does not claim to be."""
    reasons = {item: _reason(item) for item in items}
    config.hook.pytest_deselected(items=[item for item in items if reasons[item]])
    counts = Counter(reason for reason in reasons.values() if reason)
    Path(os.environ["HF_TESTS_LEFT_OUT"]).write_text(json.dumps(counts))
    items[:] = [item for item in items if not reasons[item]]


def _reason(item: pytest.Item) -> str | None:
    for mark, reason in left_out.MARKS.items():
        if item.get_closest_marker(mark):
            return reason
    file, name = item.path.name, item.nodeid.partition("::")[2]
    for start, reason in left_out.TESTS.items():
        other, _, part = start.partition("::")
        if file == other and name.startswith(part):
            return reason
    return None


class RepoFactory:
    """Makes repositories; those that are left are deleted after the test."""

    def __init__(self) -> None:
        self._made: list[tuple[RepoUrl, str]] = []

    def __call__(
        self,
        repo_type: str = "model",
        *,
        repo_id: str | None = None,
        token: str = testing_constants.TOKEN,
        **options: object,
    ) -> RepoUrl:
        """A new repository of that kind."""
        url = _api(token).create_repo(repo_id or repo_name(), repo_type=repo_type, **options)
        self._made.append((url, token))
        return url

    def delete(self) -> None:
        """Delete all that are there yet."""
        for url, token in self._made:
            _api(token).delete_repo(url.repo_id, repo_type=url.repo_type, missing_ok=True)


def _api(token: str) -> HfApi:
    return HfApi(endpoint=testing_constants.ENDPOINT_STAGING, token=token)


@pytest.fixture(scope="session")
def api() -> HfApi:
    """A client of the hub, as their usual user."""
    return _api(testing_constants.TOKEN)


@pytest.fixture
def repo_factory() -> Iterator[RepoFactory]:
    """See `RepoFactory`."""
    factory = RepoFactory()
    yield factory
    factory.delete()


@pytest.fixture
def new_repo_id(api: HfApi) -> Iterator[str]:
    """A name that is free; what is made of it is deleted."""
    repo_id = f"{testing_constants.USER}/{repo_name()}"
    yield repo_id
    api.delete_repo(repo_id, missing_ok=True)


@pytest.fixture(autouse=True)
def no_agent(monkeypatch: pytest.MonkeyPatch) -> None:
    """No coding agent is recognised, whatever runs these tests."""
    empty = {"standardEnvVars": [], "harnesses": {}}
    monkeypatch.setattr(_detect_agent, "_registry", empty, raising=False)


@pytest.fixture(autouse=True)
def fresh_token() -> None:
    """No token is left behind by the test before."""
    Path(constants.HF_TOKEN_PATH).unlink(missing_ok=True)
