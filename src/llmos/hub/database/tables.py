"""The hub's tables. Times are milliseconds since 1970 UTC; hashes are lower-case hexadecimal.

A change here needs a migration in migrations/versions; a test compares the two.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(column_0_N_label)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

Id = BigInteger().with_variant(Integer, "sqlite")  # SQLite numbers only INTEGER keys by itself


# One tree of pages in the place of two (rows, and keys to find them by): a commit writes fewer.
_ROWS_BY_KEY: Any = {"sqlite_with_rowid": False}


def _where(condition: str) -> Any:
    """For an index of some rows only: the others cost it nothing."""
    return {"sqlite_where": text(condition), "postgresql_where": text(condition)}


def _id() -> Column[int]:
    return Column("id", Id, primary_key=True, autoincrement=True)


def _to(table: str, *, null: bool = False, cascade: bool = True, key: bool = False) -> Column[int]:
    name = {"accounts": "account_id", "repos": "repo_id"}[table]
    rule = "CASCADE" if cascade else "SET NULL"
    return Column(
        name, Id, ForeignKey(f"{table}.id", ondelete=rule), nullable=null, primary_key=key
    )


# --- the hub itself
meta = Table("meta", metadata, Column("key", String(64), primary_key=True), Column("value", Text))

# --- people and organisations
accounts = Table(
    "accounts",
    metadata,
    _id(),
    Column("name", String(96), nullable=False),
    Column("name_key", String(96), nullable=False, unique=True),  # lower case
    Column("kind", String(8), nullable=False),  # user | org
    Column("full_name", String(200), nullable=False, default=""),
    Column("email", String(200), nullable=False, default=""),
    Column("password", String(200)),  # argon2; None: only tokens
    Column("admin", Boolean, nullable=False, default=False),  # of the whole hub
    Column("country", String(2), nullable=False, default=""),  # ISO 3166-1
    Column("languages", JSON, nullable=False, default=list),  # BCP 47
    Column("about", Text, nullable=False, default=""),
    Column("website", String(300), nullable=False, default=""),
    Column("quota", BigInteger),  # bytes; None: the hub's
    Column("private_default", Boolean, nullable=False, default=False),  # of new repositories
    Column("created_at", BigInteger, nullable=False),
    Column("disabled_at", BigInteger),
)
memberships = Table(  # of a user in an organisation
    "memberships",
    metadata,
    Column("org_id", Id, ForeignKey("accounts.id", ondelete="CASCADE"), primary_key=True),
    Column("user_id", Id, ForeignKey("accounts.id", ondelete="CASCADE"), primary_key=True),
    Column("role", String(16), nullable=False),  # reader | contributor | maintainer | admin
    Column("created_at", BigInteger, nullable=False),
    Index("ix_memberships_user_id", "user_id"),
)
tokens = Table(
    "tokens",
    metadata,
    _id(),
    _to("accounts"),
    Column("sha256", String(64), nullable=False, unique=True),
    Column("label", String(100), nullable=False),
    Column("scope", String(16), nullable=False),  # read | write | fineGrained
    Column("repos", JSON),  # names that a fineGrained token is for
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger),
    Column("used_at", BigInteger),
)
sessions = Table(
    "sessions",
    metadata,
    Column("sha256", String(64), primary_key=True),
    _to("accounts"),
    Column("csrf", String(64), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
)
invitations = Table(
    "invitations",
    metadata,
    _id(),
    Column("org_id", Id, ForeignKey("accounts.id", ondelete="CASCADE")),  # None: to the hub
    Column("role", String(16), nullable=False, default="reader"),
    Column("sha256", String(64), nullable=False, unique=True),
    Column("email", String(200), nullable=False, default=""),
    Column("created_by", Id, ForeignKey("accounts.id", ondelete="SET NULL")),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    Column("used_by", Id, ForeignKey("accounts.id", ondelete="SET NULL")),
    Column("used_at", BigInteger),
)
device_logins = Table(  # begun on a device, to be allowed in a browser (RFC 8628)
    "device_logins",
    metadata,
    Column("sha256", String(64), primary_key=True),  # of the device's code
    Column("user_code", String(12), nullable=False, unique=True),
    _to("accounts", null=True),  # who allowed it
    Column("denied", Boolean, nullable=False, default=False),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    Column("asked_at", BigInteger, nullable=False, default=0),  # when the device last asked
)
keys = Table(  # Ed25519 keys with which members sign updates, ledgers and results
    "keys",
    metadata,
    _id(),
    _to("accounts"),
    Column("public_key", String(64), nullable=False, unique=True),
    Column("label", String(100), nullable=False, default=""),
    Column("created_at", BigInteger, nullable=False),
    Column("revoked_at", BigInteger),
)
audit = Table(  # hash-chained: each entry's hash is over the one before
    "audit",
    metadata,
    Column("number", Id, primary_key=True, autoincrement=False),
    Column("at", BigInteger, nullable=False),
    Column("actor", String(96), nullable=False),
    Column("action", String(48), nullable=False),
    Column("target", String(300), nullable=False),
    Column("detail", JSON, nullable=False),
    Column("hash", String(64), nullable=False),
)

# --- repositories
repos = Table(
    "repos",
    metadata,
    _id(),
    Column("kind", String(12), nullable=False),  # model | dataset | space | run
    Column("owner_id", Id, ForeignKey("accounts.id", ondelete="CASCADE")),  # None: a short name
    Column("full_name", String(200), nullable=False),  # owner/name, or a short name such as gpt2
    Column("name_key", String(200), nullable=False),  # lower case of full_name
    Column("created_by", Id, ForeignKey("accounts.id", ondelete="SET NULL")),
    Column("private", Boolean, nullable=False, default=False),
    Column("gated", String(8)),  # auto | manual
    Column("sharing", String(12), nullable=False, default="open"),  # open | federated | metadata
    Column("disabled", Boolean, nullable=False, default=False),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    Column("head", String(40)),  # commit of main
    Column("card", JSON, nullable=False, default=dict),  # the YAML head of README.md
    Column("facts", JSON, nullable=False, default=dict),  # config, safetensors, library, ...
    Column("license", String(64), nullable=False, default=""),
    Column("content_sha256", String(64), nullable=False, default=""),  # see runs/noticing.py
    Column("noticed", String(64), nullable=False, default=""),  # what runs/noticing.py read last
    Column("tags", JSON, nullable=False, default=list),  # as shown; repo_tags has them to search
    Column("parameters", BigInteger),  # of a model, from its safetensors
    Column("used_bytes", BigInteger, nullable=False, default=0),
    Column("downloads", BigInteger, nullable=False, default=0),
    Column("likes", Integer, nullable=False, default=0),
    Column("trending", BigInteger, nullable=False, default=0),  # see repos/trending.py
    Column("last_discussion", Integer, nullable=False, default=0),  # numbers are given out once
    Column("discussions_off", Boolean, nullable=False, default=False),
    UniqueConstraint("kind", "name_key"),
    Index("ix_repos_kind_updated", "kind", "updated_at", "id"),
    Index("ix_repos_kind_created", "kind", "created_at", "id"),
    Index("ix_repos_kind_downloads", "kind", "downloads", "id"),
    Index("ix_repos_kind_likes", "kind", "likes", "id"),
    Index("ix_repos_kind_trending", "kind", "trending", "id"),
    Index("ix_repos_kind_gated", "kind", "gated"),
    Index("ix_repos_kind_parameters", "kind", "parameters"),
    Index("ix_repos_owner", "owner_id", "kind", "updated_at", "id"),
)
repo_tags = Table(
    "repo_tags",
    metadata,
    _to("repos", key=True),
    Column("tag", String(200), primary_key=True),  # lower case
    Index("ix_repo_tags_tag", "tag"),
)
redirects = Table(  # names that a repository had
    "redirects",
    metadata,
    Column("kind", String(12), primary_key=True),
    Column("name_key", String(200), primary_key=True),
    _to("repos"),
)
links = Table(  # lineage: this repository was made from that name (there or not)
    "links",
    metadata,
    _to("repos", key=True),
    Column("relation", String(24), primary_key=True),  # dataset | base_model | run | paper | code
    Column("target", String(300), primary_key=True),
    Index("ix_links_target", "relation", "target"),
)
likes = Table(
    "likes",
    metadata,
    _to("accounts", key=True),
    _to("repos", key=True),
    Column("created_at", BigInteger, nullable=False),
)
access_requests = Table(
    "access_requests",
    metadata,
    _id(),
    _to("repos"),
    _to("accounts"),
    Column("status", String(12), nullable=False),  # pending | accepted | rejected
    Column("fields", JSON, nullable=False, default=dict),
    Column("granted", Boolean, nullable=False, default=False),  # without having been asked for
    Column("created_at", BigInteger, nullable=False),
    UniqueConstraint("repo_id", "account_id"),
)

# --- versions, as git counts them
refs = Table(
    "refs",
    metadata,
    _to("repos", key=True),
    Column("name", String(250), primary_key=True),  # refs/heads/main, refs/tags/v1, refs/pr/3
    Column("kind", String(8), nullable=False),  # branch | tag | pr
    Column("commit", String(40), nullable=False),
    Column("message", Text),  # of a tag
)
commits = Table(
    "commits",
    metadata,
    _to("repos", key=True),
    Column("oid", String(40), primary_key=True),
    Column("tree", String(64), nullable=False),  # key of trees
    Column("parents", JSON, nullable=False),
    Column("title", Text, nullable=False),
    Column("message", Text, nullable=False),
    Column("author", String(96), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Index("ix_commits_created", "repo_id", "created_at"),
    **_ROWS_BY_KEY,
)
trees = Table(  # a folder, or a piece of one, by the sha256 of its bytes (see git/entries.py)
    "trees",
    metadata,
    Column("key", String(64), primary_key=True),
    Column("data", LargeBinary, nullable=False),
)
blobs = Table(
    "blobs",
    metadata,
    Column("sha256", String(64), primary_key=True),
    Column("size", BigInteger, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("checked_at", BigInteger),  # when fsck last re-hashed it
    Column("state", String(12), nullable=False, default="good"),  # good | quarantined | damaged
    Column("reason", Text),  # why it is not good
    Column("facts", JSON),  # what was read from it on landing (safetensors' header)
    Column("xet_hash", String(64)),  # by which Xet knows it; None: it did not come that way
    Index("ix_blobs_xet_hash", "xet_hash", **_where("xet_hash IS NOT NULL")),
    **_ROWS_BY_KEY,
)
arrivals = Table(  # small files that may not be on the disk yet: see upkeep/settling.py
    "arrivals",
    metadata,
    _id(),
    Column("sha256", String(64), nullable=False),
    Column("content", LargeBinary, nullable=False),
)
repo_blobs = Table(  # what a repository holds in any of its versions, or has been sent
    "repo_blobs",
    metadata,
    _to("repos", key=True),
    Column("sha256", String(64), primary_key=True),
    Column("created_at", BigInteger, nullable=False),
    Column("committed", Boolean, nullable=False, default=False),
    Index("ix_repo_blobs_sha256", "sha256"),
    **_ROWS_BY_KEY,
)
xorbs = Table(  # chunks as Xet sends them, kept until their files are built and a while longer
    "xorbs",
    metadata,
    Column("hash", String(64), primary_key=True),
    _to("repos", key=True),
    Column("size", BigInteger, nullable=False),
    Column("created_at", BigInteger, nullable=False),
)
file_xorbs = Table(  # how a blob is cut when it leaves by Xet: see uploads/xet/chunklists.py
    "file_xorbs",
    metadata,
    Column("sha256", String(64), primary_key=True),
    Column("start", BigInteger, primary_key=True),  # where in the blob the xorb begins, in bytes
    Column("hash", String(64), nullable=False),
    Column("chunks", LargeBinary, nullable=False),
)

# --- working together
discussions = Table(
    "discussions",
    metadata,
    _to("repos", key=True),
    Column("number", Integer, primary_key=True),
    Column("title", Text, nullable=False),
    Column("status", String(8), nullable=False),  # open | closed | draft | merged
    Column("author", String(96), nullable=False),
    Column("pull_request", Boolean, nullable=False),
    Column("base", String(250)),  # the branch that a pull request is for
    Column("merge_commit", String(40)),
    Column("pinned", Boolean, nullable=False, default=False),
    Column("created_at", BigInteger, nullable=False),
)
events = Table(
    "events",
    metadata,
    _id(),
    Column("event_id", String(24), nullable=False, unique=True),
    _to("repos"),
    Column("number", Integer, nullable=False),
    Column("type", String(24), nullable=False),
    Column("author", String(96), nullable=False),
    Column("data", JSON, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Index("ix_events_discussion", "repo_id", "number", "id"),
)
collections = Table(
    "collections",
    metadata,
    _id(),
    _to("accounts"),
    Column("collection_id", String(24), nullable=False, unique=True),  # the end of its slug
    Column("title", String(200), nullable=False),
    Column("description", Text, nullable=False, default=""),
    Column("private", Boolean, nullable=False, default=False),
    Column("theme", String(16), nullable=False, default="blue"),
    Column("position", Integer, nullable=False, default=0),  # among those of the account
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    Index("ix_collections_account", "account_id", "position"),
    Index("ix_collections_updated", "updated_at", "id"),
)
collection_items = Table(
    "collection_items",
    metadata,
    _id(),
    Column("collection_id", Id, ForeignKey("collections.id", ondelete="CASCADE"), nullable=False),
    Column("item_id", String(24), nullable=False, unique=True),
    Column("kind", String(12), nullable=False),  # model | dataset | space | paper | collection
    Column("target", String(200), nullable=False),
    Column("note", Text),
    Column("position", Integer, nullable=False),
    UniqueConstraint("collection_id", "kind", "target"),
    Index("ix_collection_items_target", "kind", "target"),
)
webhooks = Table(
    "webhooks",
    metadata,
    _id(),
    _to("accounts"),
    Column("webhook_id", String(24), nullable=False, unique=True),
    Column("url", Text, nullable=False),
    Column("secret", String(200)),
    Column("watched", JSON, nullable=False),  # [{"type": "model", "name": "org/x"}]
    Column("domains", JSON, nullable=False),  # repo, discussion
    Column("disabled", Boolean, nullable=False, default=False),
    Column("created_at", BigInteger, nullable=False),
)
webhook_watches = Table(  # `watched` of webhooks, by name
    "webhook_watches",
    metadata,
    Column("webhook_id", Id, ForeignKey("webhooks.id", ondelete="CASCADE"), primary_key=True),
    Column("kind", String(12), primary_key=True),  # model | dataset | space | run | user | org
    Column("name_key", String(200), primary_key=True),  # lower case
    Index("ix_webhook_watches_name", "name_key", "kind"),
)
webhook_deliveries = Table(
    "webhook_deliveries",
    metadata,
    _id(),
    Column("webhook_id", Id, ForeignKey("webhooks.id", ondelete="CASCADE"), nullable=False),
    Column("payload", JSON, nullable=False),
    Column("state", String(8), nullable=False),  # waiting | done | failed
    Column("attempts", Integer, nullable=False, default=0),
    Column("next_at", BigInteger, nullable=False),  # of the next attempt
    Column("answer", String(200), nullable=False, default=""),  # to the last one
    Column("created_at", BigInteger, nullable=False),
    Index("ix_webhook_deliveries_next", "state", "next_at"),
    Index("ix_webhook_deliveries_webhook", "webhook_id", "id"),
)
notifications = Table(  # one for each discussion or request that an account has to do with
    "notifications",
    metadata,
    _id(),
    _to("accounts"),
    _to("repos"),
    Column("number", Integer, nullable=False),  # of the discussion; 0: an access request
    Column("reason", String(12), nullable=False),  # mention | discussion | access
    Column("unread", Boolean, nullable=False, default=True),
    Column("updated_at", BigInteger, nullable=False),
    UniqueConstraint("account_id", "repo_id", "number"),
    Index("ix_notifications_account", "account_id", "updated_at"),
)

# --- joint runs and signed results
runs = Table(  # what is said of a repository of kind run, beside its files
    "runs",
    metadata,
    _to("repos", key=True),
    Column("recipe_sha256", String(64), nullable=False, default=""),
    Column("recipe", Text, nullable=False, default=""),  # TOML
    Column("state", String(12), nullable=False, default="planned"),  # running | done | stopped
    Column("round", Integer, nullable=False, default=0),
    Column("rounds", Integer, nullable=False, default=0),
    Column("unit", String(8), nullable=False, default="round"),  # of the two | step: one alone
    Column("model", String(200), nullable=False, default=""),  # what came out, org/name
    Column("ledger_blob", String(64), nullable=False, default=""),  # sha256 of ledger.jsonl
    Column("ledger_head", String(64), nullable=False, default=""),
    Column("entries", Integer, nullable=False, default=0),  # of the ledger
    Column("verified", Boolean),  # None: not tried yet
    Column("verdict", Text, nullable=False, default=""),
    Column("updated_at", BigInteger, nullable=False),
)
run_members = Table(
    "run_members",
    metadata,
    _to("repos", key=True),
    Column("name", String(96), primary_key=True),
    _to("accounts", null=True, cascade=False),  # whose member it is, where that is known
    Column("public_key", String(64), nullable=False, default=""),
    Column("signed_recipe", Boolean, nullable=False, default=False),
    Column("signature", JSON),  # the signed agreement, as it was sent
    Column("card", JSON, nullable=False, default=dict),  # of its data, as the ledger has it
    Column("tokens", BigInteger, nullable=False, default=0),
    Column("rounds", Integer, nullable=False, default=0),
    Column("seen_at", BigInteger),
    Index("ix_run_members_public_key", "public_key"),
    Index("ix_run_members_account", "account_id"),
)
run_progress = Table(
    "run_progress",
    metadata,
    _id(),
    _to("repos"),
    Column("round", Integer, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("values", JSON, nullable=False),  # loss, bits_per_byte, tokens, members
    Index("ix_run_progress_repo", "repo_id", "round"),
)
results = Table(
    "results",
    metadata,
    _id(),
    Column("sha256", String(64), nullable=False, unique=True),  # of the record's signed bytes
    _to("repos", null=True),  # the model judged, where it lives here
    _to("accounts", null=True, cascade=False),  # who sent it
    Column("record", JSON, nullable=False),
    Column("signer", String(64), nullable=False, default=""),  # public key
    Column("state", String(16), nullable=False),  # verified | unverifiable
    Column("created_at", BigInteger, nullable=False),
    Index("ix_results_repo", "repo_id"),
    Index("ix_results_signer", "signer"),
)
