"""The tables. Control (state and history) and telemetry are two databases on SQLite, one on PostgreSQL.

Some tables stand ready for rooms to come (samples and judgements, reviews, events, regression runs, baselines,
detectors of late changes, the outbox of notifications), so that a store of today is one of tomorrow. Times are text in
UTC with milliseconds (`clock.to_text`), JSON is text: what is hashed is what is stored. Figures
of cells and states of detectors are bytes: each evaluation reads and writes them.
"""

from __future__ import annotations

from sqlalchemy import Boolean, Column, Float, Integer, LargeBinary, MetaData, String, Table, Text

control = MetaData()
telemetry = MetaData()

route = Table(
    "llmmigrate_route",
    control,
    Column("route", String(64), primary_key=True),
    Column("version", Integer, nullable=False),
    Column("head_hash", String(64), nullable=False),
    Column("status", String(16), nullable=False),
    Column("revision", String(40)),
    Column("attempt", Integer, nullable=False),
    Column("phase", String(32)),
    Column("generation", Integer, nullable=False),
    Column("since", String(24)),
    Column("completed_revision", String(40)),
    Column("document", Text),
    Column("document_hash", String(64)),
    Column("snapshot", Text),
    Column("accepted", Text, nullable=False),
    Column("extended_s", Float, nullable=False),
    Column("unattended", Boolean, nullable=False),
    Column("acknowledged", Boolean, nullable=False),
)

history = Table(
    "llmmigrate_history",
    control,
    Column("route", String(64), primary_key=True),
    Column("seq", Integer, primary_key=True, autoincrement=False),
    Column("at", String(24), nullable=False),
    Column("actor", String(200), nullable=False),
    Column("tool_version", String(32), nullable=False),
    Column("event", String(32), nullable=False),
    Column("revision", String(40)),
    Column("attempt", Integer, nullable=False),
    Column("from_status", String(16), nullable=False),
    Column("from_phase", String(32)),
    Column("to_status", String(16), nullable=False),
    Column("to_phase", String(32)),
    Column("generation", Integer, nullable=False),
    Column("reason", Text, nullable=False),
    Column("document_hash", String(64)),
    Column("document", Text),
    Column("evidence", Text),
    Column("prev_hash", String(64), nullable=False),
    Column("hash", String(64), nullable=False),
)

approval = Table(
    "llmmigrate_approval",
    control,
    Column("route", String(64), primary_key=True),
    Column("seq", Integer, primary_key=True, autoincrement=False),
    Column("at", String(24), nullable=False),
    Column("actor", String(200), nullable=False),
    Column("revision", String(40), nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("stage", String(32), nullable=False),
    Column("groups", Text, nullable=False),
    Column("generation", Integer, nullable=False),
    Column("document_hash", String(64), nullable=False),
    Column("evidence_hash", String(64), nullable=False),
)

lease = Table(
    "llmmigrate_lease",
    telemetry,
    Column("name", String(64), primary_key=True),
    Column("holder", String(80), nullable=False),
    Column("beat", Integer, nullable=False),
    Column("at", String(24), nullable=False),
)

replica = Table(
    "llmmigrate_replica",
    telemetry,
    Column("run_id", String(40), primary_key=True),
    Column("host", String(200), nullable=False),
    Column("pid", Integer, nullable=False),
    Column("seen_at", String(24), nullable=False),
    Column("lease_s", Float, nullable=False),
    Column("generations", Text, nullable=False),
)

flush = Table(
    "llmmigrate_flush",
    telemetry,
    Column("run_id", String(40), primary_key=True),
    Column("seq", Integer, primary_key=True, autoincrement=False),
    Column("at", String(24), nullable=False),
    Column("payload", Text, nullable=False),
)

sequence = Table(
    "llmmigrate_sequence",
    telemetry,
    Column("run_id", String(40), primary_key=True),
    Column("highest", Integer, nullable=False),
    Column("missing", Text, nullable=False),
)

cell = Table(
    "llmmigrate_cell",
    telemetry,
    Column("route", String(64), primary_key=True),
    Column("generation", Integer, primary_key=True, autoincrement=False),
    Column("arm", String(16), primary_key=True),
    Column("input_type", String(64), primary_key=True),
    Column("metric", String(64), primary_key=True),
    Column("n", Integer, nullable=False),
    Column("total", Float, nullable=False),
    Column("total_sq", Float, nullable=False),
    Column("sums", LargeBinary, nullable=False),
    Column("times", LargeBinary, nullable=False),
)

minute = Table(
    "llmmigrate_minute",
    telemetry,
    Column("route", String(64), primary_key=True),
    Column("start", String(16), primary_key=True),
    Column("span_s", Integer, primary_key=True, autoincrement=False),
    Column("arm", String(16), primary_key=True),
    Column("metric", String(64), primary_key=True),
    Column("n", Integer, nullable=False),
    Column("total", Float, nullable=False),
)

coverage = Table(
    "llmmigrate_coverage",
    telemetry,
    Column("route", String(64), primary_key=True),
    Column("generation", Integer, primary_key=True, autoincrement=False),
    Column("arm", String(16), primary_key=True),
    Column("dwell_s", Float, nullable=False),
    Column("last_at", String(24), nullable=False),
)

verdict = Table(
    "llmmigrate_verdict",
    telemetry,
    Column("route", String(64), primary_key=True),
    Column("generation", Integer, nullable=False),
    Column("at", String(24), nullable=False),
    Column("answer", String(8), nullable=False),
    Column("body", Text, nullable=False),
)

outbox = Table(
    "llmmigrate_outbox",
    control,
    Column("route", String(64), primary_key=True),
    Column("seq", Integer, primary_key=True, autoincrement=False),
    Column("channel", String(64), primary_key=True),
    Column("at", String(24), nullable=False),
    Column("body", Text, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("sent_at", String(24)),
)

detector = Table(
    "llmmigrate_detector",
    telemetry,
    Column("route", String(64), primary_key=True),
    Column("generation", Integer, primary_key=True, autoincrement=False),
    Column("rule", String(32), primary_key=True),
    Column("at", String(24), nullable=False),
    Column("state", LargeBinary, nullable=False),
)

sample = Table(
    "llmmigrate_sample",
    telemetry,
    Column("id", String(40), primary_key=True),
    Column("route", String(64), nullable=False),
    Column("generation", Integer, nullable=False),
    Column("arm", String(16), nullable=False),
    Column("at", String(24), nullable=False),
    Column("pair", String(40)),
    Column("unit", String(200), nullable=False),
    Column("input_type", String(64), nullable=False),
    Column("request", Text, nullable=False),
    Column("response", Text),
    Column("facts", Text, nullable=False),
)

judgement = Table(
    "llmmigrate_judgement",
    telemetry,
    Column("sample", String(40), primary_key=True),
    Column("judge_hash", String(64), primary_key=True),
    Column("at", String(24), nullable=False),
    Column("answer", String(16), nullable=False),
    Column("body", Text, nullable=False),
)

review = Table(
    "llmmigrate_review",
    telemetry,
    Column("sample", String(40), primary_key=True),
    Column("reviewer", String(200), primary_key=True),
    Column("at", String(24), nullable=False),
    Column("answer", String(16), nullable=False),
    Column("comment", Text, nullable=False),
)

event = Table(
    "llmmigrate_event",
    telemetry,
    Column("id", String(40), primary_key=True),
    Column("route", String(64), nullable=False),
    Column("name", String(64), nullable=False),
    Column("at", String(24), nullable=False),
    Column("unit", String(200), nullable=False),
    Column("value", Float, nullable=False),
)

regression_run = Table(
    "llmmigrate_regression_run",
    telemetry,
    Column("id", String(40), primary_key=True),
    Column("route", String(64), nullable=False),
    Column("revision", String(40), nullable=False),
    Column("at", String(24), nullable=False),
    Column("document_hash", String(64), nullable=False),
    Column("suite_hash", String(64), nullable=False),
    Column("judge_hash", String(64)),
    Column("answer", String(8), nullable=False),
    Column("body", Text, nullable=False),
)

answer = Table(
    "llmmigrate_answer",
    telemetry,
    Column("key", String(64), primary_key=True),
    Column("at", String(24), nullable=False),
    Column("body", Text, nullable=False),
)

regression_case = Table(
    "llmmigrate_regression_case",
    telemetry,
    Column("run", String(40), primary_key=True),
    Column("case", String(200), primary_key=True),
    Column("arm", String(16), primary_key=True),
    Column("repetition", Integer, primary_key=True, autoincrement=False),
    Column("outcome", String(16), nullable=False),
    Column("body", Text, nullable=False),
)

baseline = Table(
    "llmmigrate_baseline",
    telemetry,
    Column("route", String(64), primary_key=True),
    Column("name", String(64), primary_key=True),
    Column("at", String(24), nullable=False),
    Column("body", Text, nullable=False),
)
