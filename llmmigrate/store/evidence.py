"""What was shown before any traffic: runs of the regression suite, and the answers that they were decided on."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, bindparam, select

from llmmigrate.clock import from_text, to_text
from llmmigrate.store import tables
from llmmigrate.store.telemetry import Telemetry
from llmmigrate.store.upsert import upsert
from llmmigrate.verdict import Answer

_run, _answer = tables.regression_run, tables.answer
_ANSWER = select(_answer.c.body).where(_answer.c.key == bindparam("k"), _answer.c.at >= bindparam("since"))
_LATEST = (
    select(_run)
    .where(_run.c.route == bindparam("r"), _run.c.document_hash == bindparam("d"))
    .order_by(_run.c.at.desc(), _run.c.id)
    .limit(1)
)


@dataclass(frozen=True, slots=True)
class RegressionRun:
    """One run of a suite on a document: its verdict, when, and on what exactly."""

    route: str
    revision: str
    at: datetime
    document_hash: str
    suite_hash: str
    answer: Answer
    body: Mapping[str, Any]


def put_run(telemetry: Telemetry, run: RegressionRun) -> None:
    """Keep a run; none is ever replaced."""
    values = {
        "id": uuid.uuid4().hex,
        "route": run.route,
        "revision": run.revision,
        "at": to_text(run.at),
        "document_hash": run.document_hash,
        "suite_hash": run.suite_hash,
        "judge_hash": None,
        "answer": run.answer,
        "body": json.dumps(run.body, ensure_ascii=False),
    }
    with telemetry.writing() as connection:
        connection.execute(_run.insert().values(values))


def latest_run(connection: Connection, route: str, document_hash: str) -> RegressionRun | None:
    """Return the latest run of a suite on this very document, None without any."""
    row = connection.execute(_LATEST, {"r": route, "d": document_hash}).mappings().first()
    if row is None:
        return None
    return RegressionRun(
        route=row["route"],
        revision=row["revision"],
        at=from_text(row["at"]),
        document_hash=row["document_hash"],
        suite_hash=row["suite_hash"],
        answer=row["answer"] if row["answer"] in ("pass", "fail") else "hold",
        body=json.loads(row["body"]),
    )


KEPT_FRESH = timedelta(days=2)
"""For how long an answer of an earlier run stands for one that is asked now: long enough to go on with a run."""


class KeptAnswers:
    """Answers of models to cases, by a key of all that they depend on; each is written when it comes.

    Those that were asked for longer than `fresh` before `at` are none any more: what a model answered then proves
    nothing of it now.
    """

    def __init__(self, telemetry: Telemetry, at: datetime, *, fresh: timedelta = KEPT_FRESH) -> None:
        self._telemetry = telemetry
        self._at = to_text(at)
        self._since = to_text(at - fresh)

    def get(self, key: str) -> str | None:
        """Return the text that was kept under a key."""
        with self._telemetry.reading() as connection:
            return connection.execute(_ANSWER, {"k": key, "since": self._since}).scalar_one_or_none()

    def put(self, key: str, text: str) -> None:
        """Keep a text under a key."""
        with self._telemetry.writing() as connection:
            values = {"key": key, "at": self._at, "body": text}
            upsert(connection, _answer, [values])
