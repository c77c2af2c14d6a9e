"""State and history of routes."""

import sqlalchemy as sa
from alembic import op

revision = "c001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "llmmigrate_route",
        sa.Column("route", sa.String(64), primary_key=True),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("head_hash", sa.String(64), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("revision", sa.String(40)),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("phase", sa.String(32)),
        sa.Column("generation", sa.Integer, nullable=False),
        sa.Column("since", sa.String(24)),
        sa.Column("completed_revision", sa.String(40)),
        sa.Column("document", sa.Text),
        sa.Column("document_hash", sa.String(64)),
        sa.Column("snapshot", sa.Text),
        sa.Column("accepted", sa.Text, nullable=False),
        sa.Column("extended_s", sa.Float, nullable=False),
        sa.Column("unattended", sa.Boolean, nullable=False),
        sa.Column("acknowledged", sa.Boolean, nullable=False),
    )
    op.create_table(
        "llmmigrate_approval",
        sa.Column("route", sa.String(64), primary_key=True),
        sa.Column("seq", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("at", sa.String(24), nullable=False),
        sa.Column("actor", sa.String(200), nullable=False),
        sa.Column("revision", sa.String(40), nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("stage", sa.String(32), nullable=False),
        sa.Column("groups", sa.Text, nullable=False),
        sa.Column("generation", sa.Integer, nullable=False),
        sa.Column("document_hash", sa.String(64), nullable=False),
        sa.Column("evidence_hash", sa.String(64), nullable=False),
    )
    op.create_table(
        "llmmigrate_history",
        sa.Column("route", sa.String(64), primary_key=True),
        sa.Column("seq", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("at", sa.String(24), nullable=False),
        sa.Column("actor", sa.String(200), nullable=False),
        sa.Column("tool_version", sa.String(32), nullable=False),
        sa.Column("event", sa.String(32), nullable=False),
        sa.Column("revision", sa.String(40)),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("from_status", sa.String(16), nullable=False),
        sa.Column("from_phase", sa.String(32)),
        sa.Column("to_status", sa.String(16), nullable=False),
        sa.Column("to_phase", sa.String(32)),
        sa.Column("generation", sa.Integer, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("document_hash", sa.String(64)),
        sa.Column("document", sa.Text),
        sa.Column("evidence", sa.Text),
        sa.Column("prev_hash", sa.String(64), nullable=False),
        sa.Column("hash", sa.String(64), nullable=False),
    )
    op.create_table(
        "llmmigrate_outbox",
        sa.Column("route", sa.String(64), primary_key=True),
        sa.Column("seq", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("channel", sa.String(64), primary_key=True),
        sa.Column("at", sa.String(24), nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("sent_at", sa.String(24)),
    )
