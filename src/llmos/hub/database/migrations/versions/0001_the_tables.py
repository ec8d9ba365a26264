"""the tables"""

# fmt: off
# ruff: noqa: E501

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = '0001'
down_revision: str | None = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply the change."""
    op.create_table('accounts', sa.Column('id', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), autoincrement=True, nullable=False),
    sa.Column('name', sa.String(length=96), nullable=False), sa.Column('name_key', sa.String(length=96), nullable=False),
    sa.Column('kind', sa.String(length=8), nullable=False), sa.Column('full_name', sa.String(length=200), nullable=False),
    sa.Column('email', sa.String(length=200), nullable=False), sa.Column('password', sa.String(length=200), nullable=True),
    sa.Column('admin', sa.Boolean(), nullable=False), sa.Column('country', sa.String(length=2), nullable=False),
    sa.Column('languages', sa.JSON(), nullable=False), sa.Column('about', sa.Text(), nullable=False),
    sa.Column('website', sa.String(length=300), nullable=False), sa.Column('quota', sa.BigInteger(), nullable=True),
    sa.Column('private_default', sa.Boolean(), nullable=False), sa.Column('created_at', sa.BigInteger(), nullable=False),
    sa.Column('disabled_at', sa.BigInteger(), nullable=True),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_accounts')),
    sa.UniqueConstraint('name_key', name=op.f('uq_accounts_name_key'))
    )
    op.create_table('arrivals', sa.Column('id', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), autoincrement=True, nullable=False),
    sa.Column('sha256', sa.String(length=64), nullable=False), sa.Column('content', sa.LargeBinary(), nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_arrivals'))
    )
    op.create_table('audit', sa.Column('number', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), autoincrement=False, nullable=False),
    sa.Column('at', sa.BigInteger(), nullable=False), sa.Column('actor', sa.String(length=96), nullable=False),
    sa.Column('action', sa.String(length=48), nullable=False), sa.Column('target', sa.String(length=300), nullable=False),
    sa.Column('detail', sa.JSON(), nullable=False), sa.Column('hash', sa.String(length=64), nullable=False),
    sa.PrimaryKeyConstraint('number', name=op.f('pk_audit'))
    )
    op.create_table('blobs', sa.Column('sha256', sa.String(length=64), nullable=False), sa.Column('size', sa.BigInteger(), nullable=False),
    sa.Column('created_at', sa.BigInteger(), nullable=False), sa.Column('checked_at', sa.BigInteger(), nullable=True),
    sa.Column('state', sa.String(length=12), nullable=False), sa.Column('reason', sa.Text(), nullable=True), sa.Column('facts', sa.JSON(), nullable=True),
    sa.Column('xet_hash', sa.String(length=64), nullable=True),
    sa.PrimaryKeyConstraint('sha256', name=op.f('pk_blobs')),
    sqlite_with_rowid=False
    )
    with op.batch_alter_table('blobs', schema=None) as batch_op:
        batch_op.create_index('ix_blobs_xet_hash', ['xet_hash'], unique=False, sqlite_where=sa.text('xet_hash IS NOT NULL'), postgresql_where=sa.text('xet_hash IS NOT NULL'))

    op.create_table('file_xorbs', sa.Column('sha256', sa.String(length=64), nullable=False), sa.Column('start', sa.BigInteger(), nullable=False),
    sa.Column('hash', sa.String(length=64), nullable=False), sa.Column('chunks', sa.LargeBinary(), nullable=False),
    sa.PrimaryKeyConstraint('sha256', 'start', name=op.f('pk_file_xorbs'))
    )
    op.create_table('meta', sa.Column('key', sa.String(length=64), nullable=False), sa.Column('value', sa.Text(), nullable=True),
    sa.PrimaryKeyConstraint('key', name=op.f('pk_meta'))
    )
    op.create_table('trees', sa.Column('key', sa.String(length=64), nullable=False), sa.Column('data', sa.LargeBinary(), nullable=False),
    sa.PrimaryKeyConstraint('key', name=op.f('pk_trees'))
    )
    op.create_table('collections', sa.Column('id', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), autoincrement=True, nullable=False),
    sa.Column('account_id', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.Column('collection_id', sa.String(length=24), nullable=False), sa.Column('title', sa.String(length=200), nullable=False),
    sa.Column('description', sa.Text(), nullable=False), sa.Column('private', sa.Boolean(), nullable=False),
    sa.Column('theme', sa.String(length=16), nullable=False), sa.Column('position', sa.Integer(), nullable=False),
    sa.Column('created_at', sa.BigInteger(), nullable=False), sa.Column('updated_at', sa.BigInteger(), nullable=False),
    sa.ForeignKeyConstraint(['account_id'], ['accounts.id'], name=op.f('fk_collections_account_id_accounts'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_collections')),
    sa.UniqueConstraint('collection_id', name=op.f('uq_collections_collection_id'))
    )
    with op.batch_alter_table('collections', schema=None) as batch_op:
        batch_op.create_index('ix_collections_account', ['account_id', 'position'], unique=False)
        batch_op.create_index('ix_collections_updated', ['updated_at', 'id'], unique=False)

    op.create_table('device_logins', sa.Column('sha256', sa.String(length=64), nullable=False), sa.Column('user_code', sa.String(length=12), nullable=False),
    sa.Column('account_id', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=True), sa.Column('denied', sa.Boolean(), nullable=False),
    sa.Column('created_at', sa.BigInteger(), nullable=False), sa.Column('expires_at', sa.BigInteger(), nullable=False),
    sa.Column('asked_at', sa.BigInteger(), nullable=False),
    sa.ForeignKeyConstraint(['account_id'], ['accounts.id'], name=op.f('fk_device_logins_account_id_accounts'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('sha256', name=op.f('pk_device_logins')),
    sa.UniqueConstraint('user_code', name=op.f('uq_device_logins_user_code'))
    )
    op.create_table('invitations', sa.Column('id', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), autoincrement=True, nullable=False),
    sa.Column('org_id', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=True), sa.Column('role', sa.String(length=16), nullable=False),
    sa.Column('sha256', sa.String(length=64), nullable=False), sa.Column('email', sa.String(length=200), nullable=False),
    sa.Column('created_by', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=True), sa.Column('created_at', sa.BigInteger(), nullable=False),
    sa.Column('expires_at', sa.BigInteger(), nullable=False), sa.Column('used_by', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=True),
    sa.Column('used_at', sa.BigInteger(), nullable=True),
    sa.ForeignKeyConstraint(['created_by'], ['accounts.id'], name=op.f('fk_invitations_created_by_accounts'), ondelete='SET NULL'),
    sa.ForeignKeyConstraint(['org_id'], ['accounts.id'], name=op.f('fk_invitations_org_id_accounts'), ondelete='CASCADE'),
    sa.ForeignKeyConstraint(['used_by'], ['accounts.id'], name=op.f('fk_invitations_used_by_accounts'), ondelete='SET NULL'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_invitations')),
    sa.UniqueConstraint('sha256', name=op.f('uq_invitations_sha256'))
    )
    op.create_table('keys', sa.Column('id', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), autoincrement=True, nullable=False),
    sa.Column('account_id', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.Column('public_key', sa.String(length=64), nullable=False), sa.Column('label', sa.String(length=100), nullable=False),
    sa.Column('created_at', sa.BigInteger(), nullable=False), sa.Column('revoked_at', sa.BigInteger(), nullable=True),
    sa.ForeignKeyConstraint(['account_id'], ['accounts.id'], name=op.f('fk_keys_account_id_accounts'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_keys')),
    sa.UniqueConstraint('public_key', name=op.f('uq_keys_public_key'))
    )
    op.create_table('memberships', sa.Column('org_id', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.Column('user_id', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False), sa.Column('role', sa.String(length=16), nullable=False),
    sa.Column('created_at', sa.BigInteger(), nullable=False),
    sa.ForeignKeyConstraint(['org_id'], ['accounts.id'], name=op.f('fk_memberships_org_id_accounts'), ondelete='CASCADE'),
    sa.ForeignKeyConstraint(['user_id'], ['accounts.id'], name=op.f('fk_memberships_user_id_accounts'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('org_id', 'user_id', name=op.f('pk_memberships'))
    )
    with op.batch_alter_table('memberships', schema=None) as batch_op:
        batch_op.create_index('ix_memberships_user_id', ['user_id'], unique=False)

    op.create_table('repos', sa.Column('id', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), autoincrement=True, nullable=False),
    sa.Column('kind', sa.String(length=12), nullable=False), sa.Column('owner_id', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=True),
    sa.Column('full_name', sa.String(length=200), nullable=False), sa.Column('name_key', sa.String(length=200), nullable=False),
    sa.Column('created_by', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=True), sa.Column('private', sa.Boolean(), nullable=False),
    sa.Column('gated', sa.String(length=8), nullable=True), sa.Column('sharing', sa.String(length=12), nullable=False),
    sa.Column('disabled', sa.Boolean(), nullable=False), sa.Column('created_at', sa.BigInteger(), nullable=False),
    sa.Column('updated_at', sa.BigInteger(), nullable=False), sa.Column('head', sa.String(length=40), nullable=True),
    sa.Column('card', sa.JSON(), nullable=False), sa.Column('facts', sa.JSON(), nullable=False), sa.Column('license', sa.String(length=64), nullable=False),
    sa.Column('content_sha256', sa.String(length=64), nullable=False), sa.Column('noticed', sa.String(length=64), nullable=False),
    sa.Column('tags', sa.JSON(), nullable=False), sa.Column('parameters', sa.BigInteger(), nullable=True),
    sa.Column('used_bytes', sa.BigInteger(), nullable=False), sa.Column('downloads', sa.BigInteger(), nullable=False),
    sa.Column('likes', sa.Integer(), nullable=False), sa.Column('trending', sa.BigInteger(), nullable=False),
    sa.Column('last_discussion', sa.Integer(), nullable=False), sa.Column('discussions_off', sa.Boolean(), nullable=False),
    sa.ForeignKeyConstraint(['created_by'], ['accounts.id'], name=op.f('fk_repos_created_by_accounts'), ondelete='SET NULL'),
    sa.ForeignKeyConstraint(['owner_id'], ['accounts.id'], name=op.f('fk_repos_owner_id_accounts'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_repos')),
    sa.UniqueConstraint('kind', 'name_key', name=op.f('uq_repos_kind_name_key'))
    )
    with op.batch_alter_table('repos', schema=None) as batch_op:
        batch_op.create_index('ix_repos_kind_created', ['kind', 'created_at', 'id'], unique=False)
        batch_op.create_index('ix_repos_kind_downloads', ['kind', 'downloads', 'id'], unique=False)
        batch_op.create_index('ix_repos_kind_gated', ['kind', 'gated'], unique=False)
        batch_op.create_index('ix_repos_kind_likes', ['kind', 'likes', 'id'], unique=False)
        batch_op.create_index('ix_repos_kind_parameters', ['kind', 'parameters'], unique=False)
        batch_op.create_index('ix_repos_kind_trending', ['kind', 'trending', 'id'], unique=False)
        batch_op.create_index('ix_repos_kind_updated', ['kind', 'updated_at', 'id'], unique=False)
        batch_op.create_index('ix_repos_owner', ['owner_id', 'kind', 'updated_at', 'id'], unique=False)

    op.create_table('sessions', sa.Column('sha256', sa.String(length=64), nullable=False),
    sa.Column('account_id', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False), sa.Column('csrf', sa.String(length=64), nullable=False),
    sa.Column('created_at', sa.BigInteger(), nullable=False), sa.Column('expires_at', sa.BigInteger(), nullable=False),
    sa.ForeignKeyConstraint(['account_id'], ['accounts.id'], name=op.f('fk_sessions_account_id_accounts'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('sha256', name=op.f('pk_sessions'))
    )
    op.create_table('tokens', sa.Column('id', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), autoincrement=True, nullable=False),
    sa.Column('account_id', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False), sa.Column('sha256', sa.String(length=64), nullable=False),
    sa.Column('label', sa.String(length=100), nullable=False), sa.Column('scope', sa.String(length=16), nullable=False),
    sa.Column('repos', sa.JSON(), nullable=True), sa.Column('created_at', sa.BigInteger(), nullable=False),
    sa.Column('expires_at', sa.BigInteger(), nullable=True), sa.Column('used_at', sa.BigInteger(), nullable=True),
    sa.ForeignKeyConstraint(['account_id'], ['accounts.id'], name=op.f('fk_tokens_account_id_accounts'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_tokens')),
    sa.UniqueConstraint('sha256', name=op.f('uq_tokens_sha256'))
    )
    op.create_table('webhooks', sa.Column('id', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), autoincrement=True, nullable=False),
    sa.Column('account_id', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.Column('webhook_id', sa.String(length=24), nullable=False), sa.Column('url', sa.Text(), nullable=False),
    sa.Column('secret', sa.String(length=200), nullable=True), sa.Column('watched', sa.JSON(), nullable=False), sa.Column('domains', sa.JSON(), nullable=False),
    sa.Column('disabled', sa.Boolean(), nullable=False), sa.Column('created_at', sa.BigInteger(), nullable=False),
    sa.ForeignKeyConstraint(['account_id'], ['accounts.id'], name=op.f('fk_webhooks_account_id_accounts'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_webhooks')),
    sa.UniqueConstraint('webhook_id', name=op.f('uq_webhooks_webhook_id'))
    )
    op.create_table('access_requests', sa.Column('id', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), autoincrement=True, nullable=False),
    sa.Column('repo_id', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.Column('account_id', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False), sa.Column('status', sa.String(length=12), nullable=False),
    sa.Column('fields', sa.JSON(), nullable=False), sa.Column('granted', sa.Boolean(), nullable=False),
    sa.Column('created_at', sa.BigInteger(), nullable=False),
    sa.ForeignKeyConstraint(['account_id'], ['accounts.id'], name=op.f('fk_access_requests_account_id_accounts'), ondelete='CASCADE'),
    sa.ForeignKeyConstraint(['repo_id'], ['repos.id'], name=op.f('fk_access_requests_repo_id_repos'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_access_requests')),
    sa.UniqueConstraint('repo_id', 'account_id', name=op.f('uq_access_requests_repo_id_account_id'))
    )
    op.create_table('collection_items', sa.Column('id', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), autoincrement=True, nullable=False),
    sa.Column('collection_id', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.Column('item_id', sa.String(length=24), nullable=False), sa.Column('kind', sa.String(length=12), nullable=False),
    sa.Column('target', sa.String(length=200), nullable=False), sa.Column('note', sa.Text(), nullable=True),
    sa.Column('position', sa.Integer(), nullable=False),
    sa.ForeignKeyConstraint(['collection_id'], ['collections.id'], name=op.f('fk_collection_items_collection_id_collections'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_collection_items')),
    sa.UniqueConstraint('collection_id', 'kind', 'target', name=op.f('uq_collection_items_collection_id_kind_target')),
    sa.UniqueConstraint('item_id', name=op.f('uq_collection_items_item_id'))
    )
    with op.batch_alter_table('collection_items', schema=None) as batch_op:
        batch_op.create_index('ix_collection_items_target', ['kind', 'target'], unique=False)

    op.create_table('commits', sa.Column('repo_id', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.Column('oid', sa.String(length=40), nullable=False), sa.Column('tree', sa.String(length=64), nullable=False),
    sa.Column('parents', sa.JSON(), nullable=False), sa.Column('title', sa.Text(), nullable=False), sa.Column('message', sa.Text(), nullable=False),
    sa.Column('author', sa.String(length=96), nullable=False), sa.Column('created_at', sa.BigInteger(), nullable=False),
    sa.ForeignKeyConstraint(['repo_id'], ['repos.id'], name=op.f('fk_commits_repo_id_repos'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('repo_id', 'oid', name=op.f('pk_commits')),
    sqlite_with_rowid=False
    )
    with op.batch_alter_table('commits', schema=None) as batch_op:
        batch_op.create_index('ix_commits_created', ['repo_id', 'created_at'], unique=False)

    op.create_table('discussions', sa.Column('repo_id', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.Column('number', sa.Integer(), nullable=False), sa.Column('title', sa.Text(), nullable=False), sa.Column('status', sa.String(length=8), nullable=False),
    sa.Column('author', sa.String(length=96), nullable=False), sa.Column('pull_request', sa.Boolean(), nullable=False),
    sa.Column('base', sa.String(length=250), nullable=True), sa.Column('merge_commit', sa.String(length=40), nullable=True),
    sa.Column('pinned', sa.Boolean(), nullable=False), sa.Column('created_at', sa.BigInteger(), nullable=False),
    sa.ForeignKeyConstraint(['repo_id'], ['repos.id'], name=op.f('fk_discussions_repo_id_repos'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('repo_id', 'number', name=op.f('pk_discussions'))
    )
    op.create_table('events', sa.Column('id', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), autoincrement=True, nullable=False),
    sa.Column('event_id', sa.String(length=24), nullable=False), sa.Column('repo_id', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.Column('number', sa.Integer(), nullable=False), sa.Column('type', sa.String(length=24), nullable=False),
    sa.Column('author', sa.String(length=96), nullable=False), sa.Column('data', sa.JSON(), nullable=False),
    sa.Column('created_at', sa.BigInteger(), nullable=False),
    sa.ForeignKeyConstraint(['repo_id'], ['repos.id'], name=op.f('fk_events_repo_id_repos'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_events')),
    sa.UniqueConstraint('event_id', name=op.f('uq_events_event_id'))
    )
    with op.batch_alter_table('events', schema=None) as batch_op:
        batch_op.create_index('ix_events_discussion', ['repo_id', 'number', 'id'], unique=False)

    op.create_table('likes', sa.Column('account_id', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.Column('repo_id', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False), sa.Column('created_at', sa.BigInteger(), nullable=False),
    sa.ForeignKeyConstraint(['account_id'], ['accounts.id'], name=op.f('fk_likes_account_id_accounts'), ondelete='CASCADE'),
    sa.ForeignKeyConstraint(['repo_id'], ['repos.id'], name=op.f('fk_likes_repo_id_repos'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('account_id', 'repo_id', name=op.f('pk_likes'))
    )
    op.create_table('links', sa.Column('repo_id', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.Column('relation', sa.String(length=24), nullable=False), sa.Column('target', sa.String(length=300), nullable=False),
    sa.ForeignKeyConstraint(['repo_id'], ['repos.id'], name=op.f('fk_links_repo_id_repos'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('repo_id', 'relation', 'target', name=op.f('pk_links'))
    )
    with op.batch_alter_table('links', schema=None) as batch_op:
        batch_op.create_index('ix_links_target', ['relation', 'target'], unique=False)

    op.create_table('notifications', sa.Column('id', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), autoincrement=True, nullable=False),
    sa.Column('account_id', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.Column('repo_id', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False), sa.Column('number', sa.Integer(), nullable=False),
    sa.Column('reason', sa.String(length=12), nullable=False), sa.Column('unread', sa.Boolean(), nullable=False),
    sa.Column('updated_at', sa.BigInteger(), nullable=False),
    sa.ForeignKeyConstraint(['account_id'], ['accounts.id'], name=op.f('fk_notifications_account_id_accounts'), ondelete='CASCADE'),
    sa.ForeignKeyConstraint(['repo_id'], ['repos.id'], name=op.f('fk_notifications_repo_id_repos'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_notifications')),
    sa.UniqueConstraint('account_id', 'repo_id', 'number', name=op.f('uq_notifications_account_id_repo_id_number'))
    )
    with op.batch_alter_table('notifications', schema=None) as batch_op:
        batch_op.create_index('ix_notifications_account', ['account_id', 'updated_at'], unique=False)

    op.create_table('redirects', sa.Column('kind', sa.String(length=12), nullable=False), sa.Column('name_key', sa.String(length=200), nullable=False),
    sa.Column('repo_id', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.ForeignKeyConstraint(['repo_id'], ['repos.id'], name=op.f('fk_redirects_repo_id_repos'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('kind', 'name_key', name=op.f('pk_redirects'))
    )
    op.create_table('refs', sa.Column('repo_id', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.Column('name', sa.String(length=250), nullable=False), sa.Column('kind', sa.String(length=8), nullable=False),
    sa.Column('commit', sa.String(length=40), nullable=False), sa.Column('message', sa.Text(), nullable=True),
    sa.ForeignKeyConstraint(['repo_id'], ['repos.id'], name=op.f('fk_refs_repo_id_repos'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('repo_id', 'name', name=op.f('pk_refs'))
    )
    op.create_table('repo_blobs', sa.Column('repo_id', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.Column('sha256', sa.String(length=64), nullable=False), sa.Column('created_at', sa.BigInteger(), nullable=False),
    sa.Column('committed', sa.Boolean(), nullable=False),
    sa.ForeignKeyConstraint(['repo_id'], ['repos.id'], name=op.f('fk_repo_blobs_repo_id_repos'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('repo_id', 'sha256', name=op.f('pk_repo_blobs')),
    sqlite_with_rowid=False
    )
    with op.batch_alter_table('repo_blobs', schema=None) as batch_op:
        batch_op.create_index('ix_repo_blobs_sha256', ['sha256'], unique=False)

    op.create_table('repo_tags', sa.Column('repo_id', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.Column('tag', sa.String(length=200), nullable=False),
    sa.ForeignKeyConstraint(['repo_id'], ['repos.id'], name=op.f('fk_repo_tags_repo_id_repos'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('repo_id', 'tag', name=op.f('pk_repo_tags'))
    )
    with op.batch_alter_table('repo_tags', schema=None) as batch_op:
        batch_op.create_index('ix_repo_tags_tag', ['tag'], unique=False)

    op.create_table('results', sa.Column('id', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), autoincrement=True, nullable=False),
    sa.Column('sha256', sa.String(length=64), nullable=False), sa.Column('repo_id', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=True),
    sa.Column('account_id', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=True), sa.Column('record', sa.JSON(), nullable=False),
    sa.Column('signer', sa.String(length=64), nullable=False), sa.Column('state', sa.String(length=16), nullable=False),
    sa.Column('created_at', sa.BigInteger(), nullable=False),
    sa.ForeignKeyConstraint(['account_id'], ['accounts.id'], name=op.f('fk_results_account_id_accounts'), ondelete='SET NULL'),
    sa.ForeignKeyConstraint(['repo_id'], ['repos.id'], name=op.f('fk_results_repo_id_repos'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_results')),
    sa.UniqueConstraint('sha256', name=op.f('uq_results_sha256'))
    )
    with op.batch_alter_table('results', schema=None) as batch_op:
        batch_op.create_index('ix_results_repo', ['repo_id'], unique=False)
        batch_op.create_index('ix_results_signer', ['signer'], unique=False)

    op.create_table('run_members', sa.Column('repo_id', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.Column('name', sa.String(length=96), nullable=False), sa.Column('account_id', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=True),
    sa.Column('public_key', sa.String(length=64), nullable=False), sa.Column('signed_recipe', sa.Boolean(), nullable=False),
    sa.Column('signature', sa.JSON(), nullable=True), sa.Column('card', sa.JSON(), nullable=False), sa.Column('tokens', sa.BigInteger(), nullable=False),
    sa.Column('rounds', sa.Integer(), nullable=False), sa.Column('seen_at', sa.BigInteger(), nullable=True),
    sa.ForeignKeyConstraint(['account_id'], ['accounts.id'], name=op.f('fk_run_members_account_id_accounts'), ondelete='SET NULL'),
    sa.ForeignKeyConstraint(['repo_id'], ['repos.id'], name=op.f('fk_run_members_repo_id_repos'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('repo_id', 'name', name=op.f('pk_run_members'))
    )
    with op.batch_alter_table('run_members', schema=None) as batch_op:
        batch_op.create_index('ix_run_members_account', ['account_id'], unique=False)
        batch_op.create_index('ix_run_members_public_key', ['public_key'], unique=False)

    op.create_table('run_progress', sa.Column('id', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), autoincrement=True, nullable=False),
    sa.Column('repo_id', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False), sa.Column('round', sa.Integer(), nullable=False),
    sa.Column('at', sa.BigInteger(), nullable=False), sa.Column('values', sa.JSON(), nullable=False),
    sa.ForeignKeyConstraint(['repo_id'], ['repos.id'], name=op.f('fk_run_progress_repo_id_repos'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_run_progress'))
    )
    with op.batch_alter_table('run_progress', schema=None) as batch_op:
        batch_op.create_index('ix_run_progress_repo', ['repo_id', 'round'], unique=False)

    op.create_table('runs', sa.Column('repo_id', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.Column('recipe_sha256', sa.String(length=64), nullable=False), sa.Column('recipe', sa.Text(), nullable=False),
    sa.Column('state', sa.String(length=12), nullable=False), sa.Column('round', sa.Integer(), nullable=False),
    sa.Column('rounds', sa.Integer(), nullable=False), sa.Column('unit', sa.String(length=8), nullable=False),
    sa.Column('model', sa.String(length=200), nullable=False), sa.Column('ledger_blob', sa.String(length=64), nullable=False),
    sa.Column('ledger_head', sa.String(length=64), nullable=False), sa.Column('entries', sa.Integer(), nullable=False),
    sa.Column('verified', sa.Boolean(), nullable=True), sa.Column('verdict', sa.Text(), nullable=False),
    sa.Column('updated_at', sa.BigInteger(), nullable=False),
    sa.ForeignKeyConstraint(['repo_id'], ['repos.id'], name=op.f('fk_runs_repo_id_repos'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('repo_id', name=op.f('pk_runs'))
    )
    op.create_table('webhook_deliveries', sa.Column('id', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), autoincrement=True, nullable=False),
    sa.Column('webhook_id', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False), sa.Column('payload', sa.JSON(), nullable=False),
    sa.Column('state', sa.String(length=8), nullable=False), sa.Column('attempts', sa.Integer(), nullable=False),
    sa.Column('next_at', sa.BigInteger(), nullable=False), sa.Column('answer', sa.String(length=200), nullable=False),
    sa.Column('created_at', sa.BigInteger(), nullable=False),
    sa.ForeignKeyConstraint(['webhook_id'], ['webhooks.id'], name=op.f('fk_webhook_deliveries_webhook_id_webhooks'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_webhook_deliveries'))
    )
    with op.batch_alter_table('webhook_deliveries', schema=None) as batch_op:
        batch_op.create_index('ix_webhook_deliveries_next', ['state', 'next_at'], unique=False)
        batch_op.create_index('ix_webhook_deliveries_webhook', ['webhook_id', 'id'], unique=False)

    op.create_table('webhook_watches', sa.Column('webhook_id', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.Column('kind', sa.String(length=12), nullable=False), sa.Column('name_key', sa.String(length=200), nullable=False),
    sa.ForeignKeyConstraint(['webhook_id'], ['webhooks.id'], name=op.f('fk_webhook_watches_webhook_id_webhooks'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('webhook_id', 'kind', 'name_key', name=op.f('pk_webhook_watches'))
    )
    with op.batch_alter_table('webhook_watches', schema=None) as batch_op:
        batch_op.create_index('ix_webhook_watches_name', ['name_key', 'kind'], unique=False)

    op.create_table('xorbs', sa.Column('hash', sa.String(length=64), nullable=False),
    sa.Column('repo_id', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False), sa.Column('size', sa.BigInteger(), nullable=False),
    sa.Column('created_at', sa.BigInteger(), nullable=False),
    sa.ForeignKeyConstraint(['repo_id'], ['repos.id'], name=op.f('fk_xorbs_repo_id_repos'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('hash', 'repo_id', name=op.f('pk_xorbs'))
    )
