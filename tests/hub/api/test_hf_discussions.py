"""Discussions and pull requests, through huggingface_hub and by hand."""

from __future__ import annotations

import warnings

import pytest
from huggingface_hub import CommitOperationAdd, HfApi, constants
from huggingface_hub.errors import BadRequestError, HfHubHTTPError

from llmos.hub.accounts.rights import Caller, account_row, roles_of
from llmos.hub.database.tables import discussions, events, refs, repos
from llmos.hub.repos import making


@pytest.fixture(autouse=True)
def online(monkeypatch) -> None:
    """The tests at large are offline; a hub on this machine may be reached."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)


@pytest.fixture
def repo(world):
    """acme/thing, and the path of its discussions."""
    with world.hub.database.read() as connection:
        row = account_row(connection, "alice")
        roles = roles_of(connection, row.id)
    caller = Caller(id=row.id, name="alice", scope="write", roles=roles)
    return making.make_repo(world.hub, caller, "model", "acme/thing")


ALL = "/api/models/acme/thing/discussions"


def _open(world, user: str = "bob", **body) -> int:
    sent = {"title": "T", "description": "D", **body}
    answer = world.ask("POST", ALL, user, json=sent)
    assert answer.status_code == 200, answer.text
    return answer.json()["num"]


def test_a_pull_request_from_start_to_end(world, live: str, repo) -> None:
    bob = HfApi(endpoint=live, token=world.tokens["bob"])
    alice = HfApi(endpoint=live, token=world.tokens["alice"])
    made = bob.create_pull_request("acme/thing", " Better   card ", description="See @alice")
    assert (made.num, made.status, made.title) == (1, "draft", "Better card")
    assert (made.target_branch, made.conflicting_files, made.diff) == ("refs/heads/main", [], "")
    added = [CommitOperationAdd("README.md", b"# Hello\n")]
    bob.create_commit("acme/thing", added, commit_message="card", revision="refs/pr/1")
    details = alice.get_discussion_details("acme/thing", 1)
    assert [event.type for event in details.events] == ["comment", "commit"]
    assert "+# Hello" in details.diff
    with pytest.raises(HfHubHTTPError, match="403"):
        bob.merge_pull_request("acme/thing", 1)
    bob.change_discussion_status("acme/thing", 1, "open", comment="ready")
    alice.merge_pull_request("acme/thing", 1, comment="thanks")
    details = bob.get_discussion_details("acme/thing", 1)
    assert details.status == "merged"
    head = alice.list_repo_commits("acme/thing")[0]
    assert details.merge_commit_oid == head.commit_id
    assert "+# Hello" in details.diff  # as it was merged
    assert [event.type for event in details.events][-2:] == ["status-change", "comment"]
    with pytest.raises(BadRequestError):
        alice.change_discussion_status("acme/thing", 1, "closed")
    with pytest.raises(HfHubHTTPError, match="403"):
        late = [CommitOperationAdd("late.txt", b"late")]
        bob.create_commit("acme/thing", late, commit_message="late", revision="refs/pr/1")


def test_create_pr_of_a_commit_is_open(world, live: str, repo) -> None:
    bob = HfApi(endpoint=live, token=world.tokens["bob"])
    info = bob.create_commit(
        "acme/thing",
        [CommitOperationAdd("a.txt", b"a")],
        commit_message="x" * 300,
        commit_description="why",
        create_pr=True,
    )
    assert info.pr_url == f"{live}/acme/thing/discussions/1"
    details = bob.get_discussion_details("acme/thing", 1)
    assert (details.status, len(details.title)) == ("open", 200)
    assert details.events[0].content == "why"
    assert details.events[1].oid == info.oid


def test_conflicts_are_named_and_refused(world, live: str, repo) -> None:
    alice = HfApi(endpoint=live, token=world.tokens["alice"])
    alice.create_commit(
        "acme/thing", [CommitOperationAdd("f", b"1")], commit_message="theirs", create_pr=True
    )
    alice.create_commit("acme/thing", [CommitOperationAdd("f", b"2")], commit_message="ours")
    assert alice.get_discussion_details("acme/thing", 1).conflicting_files == ["f"]
    answer = world.ask("POST", f"{ALL}/1/merge", "alice")
    assert (answer.status_code, answer.json()["conflicts"]) == (409, ["f"])
    assert alice.list_repo_commits("acme/thing")[0].title == "ours"


def test_comments_are_edited_by_their_authors_and_hidden_for_good(world, live, repo) -> None:
    bob = HfApi(endpoint=live, token=world.tokens["bob"])
    number = bob.create_discussion("acme/thing", "Hello", description="first").num
    comment = bob.comment_discussion("acme/thing", number, "<b>secret</b>\nline")
    assert comment.rendered == "<p>&lt;b&gt;secret&lt;/b&gt;<br>\nline</p>"
    edited = bob.edit_discussion_comment("acme/thing", number, comment.id, "better")
    assert (edited.edited, edited.content, edited.number_of_edits) == (True, "better", 1)
    path = f"{ALL}/{number}/comment/{comment.id}"
    refused = world.ask("POST", f"{path}/edit", "alice", json={"content": "mine"})
    assert refused.status_code == 403
    world.user("carol")
    assert world.ask("POST", f"{path}/hide", "carol").status_code == 403
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        alice = HfApi(endpoint=live, token=world.tokens["alice"])
        hidden = alice.hide_discussion_comment("acme/thing", number, comment.id)
    assert (hidden.hidden, hidden.content) == (True, "This comment has been hidden")
    assert "secret" not in world.ask("GET", f"{ALL}/{number}", "bob").text
    with world.hub.database.read() as connection:
        assert all("secret" not in str(row.data) for row in connection.execute(events.select()))
    again = world.ask("POST", f"{path}/edit", "bob", json={"content": "back"})
    assert again.status_code == 403


def test_lists_are_filtered_and_come_in_pages_of_ten(world, live: str, repo) -> None:
    for number in range(1, 13):
        _open(world, "bob" if number % 2 else "alice", pullRequest=number == 3)
    assert world.ask("POST", f"{ALL}/5/status", "bob", json={"status": "closed"}).is_success
    assert world.ask("POST", f"{ALL}/2/pin", "alice", json={"pinned": True}).is_success
    api = HfApi(endpoint=live, token=False)
    found = [one.num for one in api.get_repo_discussions("acme/thing")]
    assert found == [2, *(n for n in range(12, 0, -1) if n != 2)]
    mine = api.get_repo_discussions("acme/thing", author="bob", discussion_status="open")
    assert [one.num for one in mine] == [11, 9, 7, 3, 1]
    kinds = api.get_repo_discussions("acme/thing", discussion_type="pull_request")
    assert [one.num for one in kinds] == [3]
    page = world.ask("GET", f"{ALL}?p=1").json()
    assert (page["count"], page["start"], page["numClosedDiscussions"]) == (12, 10, 1)
    assert world.ask("GET", f"{ALL}?status=odd").status_code == 400
    assert world.ask("GET", f"{ALL}?p=-1").status_code == 400


@pytest.mark.parametrize(
    ("action", "body", "rights"),
    [
        ("", None, {None: 401, "bob": 403, "carol": 403, "alice": 200}),
        ("comment", {"comment": "x"}, {None: 401, "reading": 403, "carol": 200}),
        ("title", {"title": "New"}, {None: 401, "carol": 403, "bob": 200, "alice": 200}),
        ("status", {"status": "closed"}, {None: 401, "carol": 403, "bob": 200}),
        ("merge", {}, {None: 401, "carol": 403, "bob": 403, "alice": 200}),
        ("pin", {}, {None: 401, "carol": 403, "bob": 403, "alice": 200}),
    ],
)
def test_who_may_do_what(world, repo, action: str, body, rights) -> None:
    from llmos.hub.accounts import people

    world.user("carol")
    with world.hub.database.write() as connection:
        row = account_row(connection, "carol")
        world.tokens["reading"] = people.make_token(
            connection, "test", row, scope="read", value="hf_reading_token"
        )
    answer = world.ask(
        "POST",
        "/api/models/acme/thing/commit/main?create_pr=1",
        "bob",
        content=(
            b'{"key":"header","value":{"summary":"s"}}\n'
            b'{"key":"file","value":{"path":"p","content":"eA==","encoding":"base64"}}\n'
        ),
    )
    assert answer.status_code == 200
    for user, status in rights.items():
        method = "POST" if action else "DELETE"
        path = f"{ALL}/1/{action}".rstrip("/")
        answer = world.ask(method, path, user, **({"json": body} if action else {}))
        assert answer.status_code == status, (user, answer.text)


def test_a_gate_keeps_diffs_and_discussions_to_those_let_in(world, repo) -> None:
    number = _open(world, "alice", pullRequest=True)
    line = b'{"key":"file","value":{"path":"p","content":"c2VjcmV0Cg==","encoding":"base64"}}\n'
    body = b'{"key":"header","value":{"summary":"s"}}\n' + line
    path = f"/api/models/acme/thing/commit/refs%2Fpr%2F{number}"
    assert world.ask("POST", path, "alice", content=body).status_code == 200
    assert "secret" in world.ask("GET", f"{ALL}/{number}", "bob").json()["diff"]
    with world.hub.database.write() as connection:
        connection.execute(repos.update().values(gated="manual"))
    answer = world.ask("GET", f"{ALL}/{number}", "bob")
    assert answer.status_code == 200 and answer.json()["diff"] == ""
    assert (
        world.ask("POST", f"{ALL}/{number}/comment", "bob", json={"comment": "x"}).status_code
        == 403
    )
    with world.hub.database.write() as connection:
        connection.execute(repos.update().values(private=True))
    assert world.ask("GET", f"{ALL}/{number}", "bob").status_code == 404
    assert world.ask("GET", ALL).status_code == 401


def test_switched_off_and_deleted(world, repo) -> None:
    number = _open(world, pullRequest=True)
    assert world.ask("DELETE", f"{ALL}/{number}", "alice").status_code == 200
    with world.hub.database.write() as connection:
        for table in (discussions, events):
            assert connection.execute(table.select()).all() == []
        names = {row.name for row in connection.execute(refs.select())}
        assert names == {"refs/heads/main"}
    assert _open(world) == 2  # the number is not given out again
    with world.hub.database.write() as connection:
        connection.execute(repos.update().values(discussions_off=True))
    refused = world.ask("POST", ALL, "bob", json={"title": "T", "description": "D"})
    assert refused.status_code == 403 and "switched off" in refused.json()["error"]


NONSENSE = [
    ("", {"title": "", "description": "x"}, 400),
    ("", {"title": "x" * 201, "description": "x"}, 400),
    ("", {"title": ["x"], "description": "x"}, 400),
    ("", {"title": "a\0b", "description": "x"}, 400),
    ("", {"title": "T", "description": "x" * 65_537}, 400),
    ("", {"title": "T", "description": "D", "pullRequest": "perhaps"}, 400),
    ("/1/comment", {"comment": "   "}, 400),
    ("/1/comment", {"comment": "a\0"}, 400),
    ("/1/comment", {}, 400),
    ("/1/status", {"status": "merged"}, 400),
    ("/1/status", {"status": "open"}, 400),
    ("/1/merge", {}, 400),
    ("/99/comment", {"comment": "x"}, 404),
    ("/0x1/comment", {"comment": "x"}, 404),
    ("/٣/comment", {"comment": "x"}, 404),
    ("/99999999999999999999/comment", {"comment": "x"}, 404),
    ("/1/comment/nothing/edit", {"content": "x"}, 404),
]


def test_what_makes_no_sense_is_refused(world, repo) -> None:
    _open(world, "alice")
    for path, body, status in NONSENSE:
        answer = world.ask("POST", ALL + path, "alice", json=body)
        assert answer.status_code == status, (path, body, answer.text)
