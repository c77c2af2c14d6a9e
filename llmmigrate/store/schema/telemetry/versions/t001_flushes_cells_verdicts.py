"""Replicas, their flushes, and what is folded and decided from them."""

import sqlalchemy as sa
from alembic import op

revision = "t001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "llmmigrate_replica",
        sa.Column("run_id", sa.String(40), primary_key=True),
        sa.Column("host", sa.String(200), nullable=False),
        sa.Column("pid", sa.Integer, nullable=False),
        sa.Column("seen_at", sa.String(24), nullable=False),
        sa.Column("lease_s", sa.Float, nullable=False),
        sa.Column("generations", sa.Text, nullable=False),
    )
    op.create_table(
        "llmmigrate_flush",
        sa.Column("run_id", sa.String(40), primary_key=True),
        sa.Column("seq", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("at", sa.String(24), nullable=False),
        sa.Column("payload", sa.Text, nullable=False),
    )
    op.create_table(
        "llmmigrate_sequence",
        sa.Column("run_id", sa.String(40), primary_key=True),
        sa.Column("highest", sa.Integer, nullable=False),
        sa.Column("missing", sa.Text, nullable=False),
    )
    op.create_table(
        "llmmigrate_cell",
        sa.Column("route", sa.String(64), primary_key=True),
        sa.Column("generation", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("arm", sa.String(16), primary_key=True),
        sa.Column("input_type", sa.String(64), primary_key=True),
        sa.Column("metric", sa.String(64), primary_key=True),
        sa.Column("n", sa.Integer, nullable=False),
        sa.Column("total", sa.Float, nullable=False),
        sa.Column("total_sq", sa.Float, nullable=False),
        sa.Column("sums", sa.LargeBinary, nullable=False),
        sa.Column("times", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "llmmigrate_lease",
        sa.Column("name", sa.String(64), primary_key=True),
        sa.Column("holder", sa.String(80), nullable=False),
        sa.Column("beat", sa.Integer, nullable=False),
        sa.Column("at", sa.String(24), nullable=False),
    )
    op.create_table(
        "llmmigrate_minute",
        sa.Column("route", sa.String(64), primary_key=True),
        sa.Column("start", sa.String(16), primary_key=True),
        sa.Column("span_s", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("arm", sa.String(16), primary_key=True),
        sa.Column("metric", sa.String(64), primary_key=True),
        sa.Column("n", sa.Integer, nullable=False),
        sa.Column("total", sa.Float, nullable=False),
    )
    op.create_table(
        "llmmigrate_coverage",
        sa.Column("route", sa.String(64), primary_key=True),
        sa.Column("generation", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("arm", sa.String(16), primary_key=True),
        sa.Column("dwell_s", sa.Float, nullable=False),
        sa.Column("last_at", sa.String(24), nullable=False),
    )
    op.create_table(
        "llmmigrate_verdict",
        sa.Column("route", sa.String(64), primary_key=True),
        sa.Column("generation", sa.Integer, nullable=False),
        sa.Column("at", sa.String(24), nullable=False),
        sa.Column("answer", sa.String(8), nullable=False),
        sa.Column("body", sa.Text, nullable=False),
    )
    op.create_table(
        "llmmigrate_detector",
        sa.Column("route", sa.String(64), primary_key=True),
        sa.Column("generation", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("rule", sa.String(32), primary_key=True),
        sa.Column("at", sa.String(24), nullable=False),
        sa.Column("state", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "llmmigrate_sample",
        sa.Column("id", sa.String(40), primary_key=True),
        sa.Column("route", sa.String(64), nullable=False),
        sa.Column("generation", sa.Integer, nullable=False),
        sa.Column("arm", sa.String(16), nullable=False),
        sa.Column("at", sa.String(24), nullable=False),
        sa.Column("pair", sa.String(40)),
        sa.Column("unit", sa.String(200), nullable=False),
        sa.Column("input_type", sa.String(64), nullable=False),
        sa.Column("request", sa.Text, nullable=False),
        sa.Column("response", sa.Text),
        sa.Column("facts", sa.Text, nullable=False),
    )
    op.create_table(
        "llmmigrate_judgement",
        sa.Column("sample", sa.String(40), primary_key=True),
        sa.Column("judge_hash", sa.String(64), primary_key=True),
        sa.Column("at", sa.String(24), nullable=False),
        sa.Column("answer", sa.String(16), nullable=False),
        sa.Column("body", sa.Text, nullable=False),
    )
    op.create_table(
        "llmmigrate_review",
        sa.Column("sample", sa.String(40), primary_key=True),
        sa.Column("reviewer", sa.String(200), primary_key=True),
        sa.Column("at", sa.String(24), nullable=False),
        sa.Column("answer", sa.String(16), nullable=False),
        sa.Column("comment", sa.Text, nullable=False),
    )
    op.create_table(
        "llmmigrate_event",
        sa.Column("id", sa.String(40), primary_key=True),
        sa.Column("route", sa.String(64), nullable=False),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("at", sa.String(24), nullable=False),
        sa.Column("unit", sa.String(200), nullable=False),
        sa.Column("value", sa.Float, nullable=False),
    )
    op.create_table(
        "llmmigrate_regression_run",
        sa.Column("id", sa.String(40), primary_key=True),
        sa.Column("route", sa.String(64), nullable=False),
        sa.Column("revision", sa.String(40), nullable=False),
        sa.Column("at", sa.String(24), nullable=False),
        sa.Column("document_hash", sa.String(64), nullable=False),
        sa.Column("suite_hash", sa.String(64), nullable=False),
        sa.Column("judge_hash", sa.String(64)),
        sa.Column("answer", sa.String(8), nullable=False),
        sa.Column("body", sa.Text, nullable=False),
    )
    op.create_table(
        "llmmigrate_answer",
        sa.Column("key", sa.String(64), primary_key=True),
        sa.Column("at", sa.String(24), nullable=False),
        sa.Column("body", sa.Text, nullable=False),
    )
    op.create_table(
        "llmmigrate_regression_case",
        sa.Column("run", sa.String(40), primary_key=True),
        sa.Column("case", sa.String(200), primary_key=True),
        sa.Column("arm", sa.String(16), primary_key=True),
        sa.Column("repetition", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("outcome", sa.String(16), nullable=False),
        sa.Column("body", sa.Text, nullable=False),
    )
    op.create_table(
        "llmmigrate_baseline",
        sa.Column("route", sa.String(64), primary_key=True),
        sa.Column("name", sa.String(64), primary_key=True),
        sa.Column("at", sa.String(24), nullable=False),
        sa.Column("body", sa.Text, nullable=False),
    )
