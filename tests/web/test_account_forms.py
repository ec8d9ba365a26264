"""Accounts, organisations and invitations with forms, as a browser sends them."""

from __future__ import annotations

import html
import json
import re
from pathlib import Path
from typing import Any

from sqlalchemy import select

from llmos.hub.accounts.rights import account_row
from llmos.hub.database.tables import accounts
from llmos.provenance.signing import generate_key, sign

PASSWORD = "long enough, I think"


def test_signing_in_and_out(site: Any) -> None:
    browser = site.browser()
    page = browser.get("/login?next=/acme/small")
    assert 'name="next" value="/acme/small"' in page.text
    wrong = browser.post("/login", data={"name": "alice", "password": "no", "next": "/acme"})
    assert wrong.status_code == 401 and 'value="alice"' in wrong.text and "no" not in wrong.cookies
    chinese = browser.post("/login?lang=zh", data={"name": "alice", "password": "no"})
    assert "用户名或密码错误" in chinese.text and "password is wrong" not in chinese.text
    right = browser.post("/login", data={"name": "alice", "password": PASSWORD, "next": "/acme"})
    assert right.headers["location"] == "/acme"
    assert (
        "HttpOnly" in right.headers["set-cookie"] and "SameSite=lax" in right.headers["set-cookie"]
    )
    assert 'href="/alice"' in browser.get("/acme").text
    token = re.search(r'name="csrf" value="([^"]+)"', browser.get("/").text)
    assert token
    out = browser.post("/logout", data={"csrf": token[1]})
    assert out.headers["location"] == "/?done=signed_out"
    assert browser.get("/settings").status_code == 401


def test_too_many_wrong_passwords(tmp_path: Path, open_new: Any) -> None:
    site = open_new(tmp_path, signup="open")
    site.hub.limits.logins_from.per_minute = site.hub.limits.logins_to.per_minute = 3
    browser = site.browser()
    data = {"name": "alice", "password": "no"}
    codes = [browser.post("/login", data=data).status_code for _ in range(5)]
    assert codes[0] == 401 and codes[-1] == 429
    assert "retry-after" in browser.post("/login", data=data).headers
    site.hub.close()


def test_signing_up_with_an_invitation(site: Any, alice: Any) -> None:
    answer = alice.send(
        "/organizations/acme/invitations", 200, role="contributor", email="c@example.org"
    )
    code = re.search(r'class="secret"><code>([^<]+)<', answer.text)
    assert code and "c@example.org" in answer.text
    browser = site.browser()
    data = {"name": "carla", "password": PASSWORD, "full_name": "Carla", "code": ""}
    without = browser.post("/signup", data=data)
    assert without.status_code == 403 and 'value="carla"' in without.text
    taken = browser.post("/signup", data={**data, "name": "bob", "code": code[1]})
    assert taken.status_code == 409
    made = browser.post("/signup", data={**data, "code": code[1]})
    assert made.headers["location"] == "/settings?done=welcome"
    assert browser.get("/settings").status_code == 200
    assert "Carla" in browser.get("/acme").text
    again = site.browser().post("/signup", data={**data, "name": "dora", "code": code[1]})
    assert again.status_code == 404


def test_an_open_hub_takes_everybody(tmp_path: Path, open_new: Any) -> None:
    site = open_new(tmp_path, signup="open")
    data = {"name": "carla", "password": PASSWORD}
    assert site.browser().post("/signup", data=data).status_code == 303
    weak = site.browser().post("/signup", data={"name": "dora", "password": "short"})
    assert weak.status_code == 422
    site.hub.close()


def test_profile_and_password(site: Any, bob: Any) -> None:
    bob.send(
        "/settings", full_name="Bob B", country="FR", languages="fr, en", about="**Hi**\r\nthere",
        website="https://b.example", email="b@example.org",
    )  # fmt: skip
    page = site.browser().get("/bob").text
    for part in ("Bob B", "France", "French, English", "<strong>Hi</strong>", "https://b.example"):
        assert part in page
    assert "b@example.org" not in page
    bob.send("/settings", 422, website="javascript:alert(1)")
    bob.send("/settings", 422, country="XX")
    bob.send("/settings/password", 403, old="wrong", new="another long one")
    bob.send("/settings/password", old=PASSWORD, new="another long one")
    data = {"name": "bob", "password": "another long one"}
    assert site.browser().post("/login", data=data).status_code == 303


def test_a_token_is_shown_once_and_works_until_withdrawn(site: Any, bob: Any) -> None:
    made = bob.send("/settings/tokens", 200, label="laptop", scope="write", days="30", repos="")
    token = re.search(r'class="secret"><code>([^<]+)<', made.text)
    assert token
    assert token[1] not in bob.client.get("/settings/tokens").text
    header = {"Authorization": f"Bearer {token[1]}"}
    assert site.browser().get("/api/whoami-v2", headers=header).json()["name"] == "bob"
    number = re.search(r"/settings/tokens/(\d+)/withdraw", bob.client.get("/settings/tokens").text)
    assert number
    bob.send(f"/settings/tokens/{number[1]}/withdraw")
    assert site.browser().get("/api/whoami-v2", headers=header).status_code == 401
    bob.send("/settings/tokens", 400, label="x", scope="write", days="many")
    bob.send("/settings/tokens", 422, label="", scope="write", days="")


def test_a_key_is_added_by_what_it_signed(site: Any, bob: Any, tmp_path: Path) -> None:
    page = bob.client.get("/settings/keys").text
    shown = re.search(r'<pre tabindex="0"><code>(.*?)</code>', page, re.DOTALL)
    assert shown
    key = generate_key(tmp_path / "key")
    proof = json.dumps(sign(key, "hub_key", json.loads(html.unescape(shown[1]))))
    bob.send("/settings/keys", 400, proof="no json", label="")
    bob.send("/settings/keys", 400, proof="[]", label="")
    assert key.public in bob.send("/settings/keys", proof=proof, label="trainer").text
    assert key.public in site.browser().get("/bob").text
    bob.send(f"/settings/keys/{key.public}/withdraw")
    assert "revoked" in site.browser().get("/bob").text


def test_organisations(site: Any, alice: Any, bob: Any) -> None:
    bob.send("/settings/organizations", name="lab", full_name="The Lab")
    assert "The Lab" in site.browser().get("/lab").text
    bob.send("/organizations/lab/settings", full_name="Lab 2", country="JP", languages="ja")
    assert "Japan" in site.browser().get("/lab").text
    answer = bob.send("/organizations/lab/invitations", 200, role="reader", email="")
    code = re.search(r'class="secret"><code>([^<]+)<', answer.text)
    assert code
    alice.send("/settings/organizations/accept", code=code[1])
    bob.send("/organizations/lab/members/alice/role", role="maintainer")
    assert "maintainer" in site.browser().get("/lab").text
    alice.send("/organizations/lab/settings", 403, full_name="Mine")
    alice.send("/organizations/lab/leave")
    bob.send("/organizations/lab/leave", 409)
    bob.send("/organizations/lab/members/bob/remove", 409)


def test_admins(site: Any, root: Any, bob: Any) -> None:
    bob.send("/admin/invitations", 403, email="")
    made = root.send("/admin/invitations", 200, email="d@example.org")
    assert re.search(r'class="secret"><code>[^<]{20,}<', made.text)
    number = re.search(r"/admin/invitations/(\d+)/withdraw", made.text)
    assert number
    root.send(f"/admin/invitations/{number[1]}/withdraw")
    root.send("/admin/accounts/bob/standing", disabled="yes")
    assert bob.client.get("/settings").status_code == 401
    assert site.browser().get("/bob").status_code == 404
    root.send("/admin/accounts/bob/standing", disabled="no")
    assert site.browser().get("/bob").status_code == 200
    root.send("/admin/accounts/root/standing", 409, disabled="yes")
    assert "user.disable" in root.client.get("/admin").text


def test_a_profile_in_any_letters_keeps_them(site: Any, bob: Any) -> None:
    bob.send("/settings", full_name="王丽 Ñ 🙂", about="x" * 4000)
    with site.hub.database.read() as connection:
        kept = account_row(connection, "bob")
        assert kept is not None and kept.full_name == "王丽 Ñ 🙂"
        number = select(accounts.c.id).where(accounts.c.about.like("x%"))
        assert len(connection.execute(number).all()) == 1
    bob.send("/settings", 422, about="x" * 6000)


def test_what_is_new_is_as_private_as_its_owner_has_set_it(site: Any, alice: Any) -> None:
    page = alice.client.get("/organizations/acme/settings").text
    assert '<option value="public" selected>' in page
    alice.send("/organizations/acme/settings", new_repositories="private")
    assert (
        '<option value="private" selected>' in alice.client.get("/organizations/acme/settings").text
    )
    alice.send("/organizations/acme/settings", full_name="Acme")  # says nothing of it
    new = {"kind": "model", "owner": "acme", "sharing": "open", "recipe": ""}
    alice.send("/new", **new, name="hidden", visibility="")
    alice.send("/new", **new, name="shown", visibility="public")
    assert site.browser().get("/acme/hidden").status_code == 401
    assert site.browser().get("/acme/shown").status_code == 200
    alice.send("/settings", new_repositories="private")
    alice.send("/new", **{**new, "owner": "alice"}, name="mine", visibility="")
    assert site.browser().get("/alice/mine").status_code == 401


def test_who_only_has_a_token_is_told_how_to_get_a_password(site: Any) -> None:
    for language, words in (("en", "Only have a token"), ("zh", "只有令牌")):
        browser = site.browser()
        browser.headers["Accept-Language"] = language
        page = browser.get("/login").text
        assert words in page and "llmos hub user password" in page
