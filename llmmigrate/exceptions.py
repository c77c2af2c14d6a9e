"""Every error the product raises on purpose, and the exit codes of the command line.

LlmmigrateError                 1   anything below; `hint` is the next command to try
├── SettingsError               1   configuration file or URL
├── TargetNotFound              1   no such route or revision
├── StoreError                  1   the history store
│   ├── StoreMissing            1   there is none yet, and this command may not create it
│   ├── StoreUnavailable        1   it does not answer now; another try may succeed
│   ├── StoreBusy               1   somebody else held it for longer than the lock timeout
│   ├── SchemaMismatch          1   made by another version of the tool
│   └── LostRace                1   somebody else changed the route first
├── RefusedError                2   the command makes no sense in this state
├── DocumentError               6   documents are not fit
│   ├── DocumentInvalid         6   carries every problem with file, line and column
│   ├── DocumentEdited          6   changed after it was applied
│   └── GraphError              6   heads, parents, unbroken chain of one route
│       └── MultipleHeads       6   carries the heads
├── TargetFailed                1   something outside did not take the routing
    └── ModelError                  1   a call to a model failed; carries the error class
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, ClassVar


class ExitCode(IntEnum):
    """What a script learns from a command (contract: `docs/cli.md`)."""

    DONE = 0
    ERROR = 1
    USAGE = 2
    HOLD = 3
    PAUSED = 4
    ROLLED_BACK = 5
    UNFIT = 6


class LlmmigrateError(Exception):
    """Carry one sentence, and optionally the next command to try."""

    exit_code: ClassVar[ExitCode] = ExitCode.ERROR
    code: ClassVar[str] = "error"

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    @property
    def brief(self) -> str:
        """The message in one line, for a table."""
        return self.message

    def as_dict(self) -> dict[str, Any]:
        """Return the body of the JSON error object."""
        return {"code": self.code, "message": self.message, "hint": self.hint}


class SettingsError(LlmmigrateError):
    code = "settings"


class TargetNotFound(LlmmigrateError):
    code = "target_not_found"


class RefusedError(LlmmigrateError):
    exit_code = ExitCode.USAGE
    code = "refused"


class StoreError(LlmmigrateError):
    code = "store"


class StoreMissing(StoreError):
    code = "store_missing"


class StoreUnavailable(StoreError):
    code = "store_unavailable"


class StoreBusy(StoreError):
    code = "store_busy"


class SchemaMismatch(StoreError):
    code = "schema_mismatch"


class LostRace(StoreError):
    """Say that the route moved between reading and writing; nothing was written."""

    code = "lost_race"

    def __init__(self, route: str, version: int) -> None:
        super().__init__(
            f"route {route} was changed by somebody else (it is past version {version})",
            hint=f"llmmigrate status {route}",
        )
        self.route = route
        self.version = version


class DocumentError(LlmmigrateError):
    exit_code = ExitCode.UNFIT
    code = "document"
    route: str | None = None


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong in one place of one document; line and column count from 1."""

    file: str
    line: int
    column: int
    path: str
    message: str

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}:{self.column}"
        return f"{where}: {self.path}: {self.message}" if self.path else f"{where}: {self.message}"


class DocumentInvalid(DocumentError):
    code = "document_invalid"

    def __init__(self, problems: Sequence[Problem], *, route: str | None = None) -> None:
        super().__init__(
            "\n".join(str(problem) for problem in problems),
            hint="correct what is named, then run the command again",
        )
        self.problems = tuple(problems)
        self.route = route

    @property
    def brief(self) -> str:
        more = len(self.problems) - 1
        return f"{self.problems[0]}{f' (and {more} more: llmmigrate check)' if more else ''}"

    def as_dict(self) -> dict[str, Any]:
        body = super().as_dict()
        body["problems"] = [
            {"file": p.file, "line": p.line, "column": p.column, "path": p.path, "message": p.message}
            for p in self.problems
        ]
        return body


class DocumentEdited(DocumentError):
    code = "document_edited"

    def __init__(self, revision: str, file: str) -> None:
        super().__init__(
            f"document {revision} was edited after it was applied ({file})",
            hint=f'record the change: llmmigrate repair {revision} --reason "…" (or restore the file)',
        )
        self.revision = revision


class GraphError(DocumentError):
    """Say what is wrong with the documents of one route; those of others are not concerned."""

    code = "graph"

    def __init__(self, message: str, *, hint: str | None = None, route: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.route = route

    def as_dict(self) -> dict[str, Any]:
        return {**super().as_dict(), "route": self.route}


class MultipleHeads(GraphError):
    """Say that several documents of a route are the last one; `heads` are their revisions, the youngest last."""

    code = "multiple_heads"

    def __init__(self, route: str, heads: Sequence[str], bases: Sequence[str] = ()) -> None:
        anew = f", and {len(bases)} bases: {', '.join(bases)}" if len(bases) > 1 else ""
        super().__init__(
            f"route {route} has {len(heads)} heads: {', '.join(heads)}{anew}",
            hint=f"let one follow the other: llmmigrate rebase {heads[-1]}",
            route=route,
        )
        self.heads = tuple(heads)

    def as_dict(self) -> dict[str, Any]:
        return {**super().as_dict(), "heads": list(self.heads)}


class TargetFailed(LlmmigrateError):
    code = "target_failed"

    def __init__(self, target: str, why: str) -> None:
        super().__init__(f"{target} does not follow: {why}")
        self.target = target


class ModelError(LlmmigrateError):
    """Say that a call to a model failed.

    `error_class` is one of rate_limit, overloaded, timeout, connection, context_length, content_filter, auth,
    bad_request, malformed, unknown. `status` is the HTTP status, None without an answer; `retryable` says that another
    try may succeed, not before `retry_after_s` where the provider named a wait; `attempts` counts the tries made.
    """

    code = "model"

    def __init__(
        self,
        error_class: str,
        message: str,
        *,
        latency_s: float = 0.0,
        status: int | None = None,
        retryable: bool = False,
        retry_after_s: float | None = None,
        attempts: int = 1,
    ) -> None:
        super().__init__(message)
        self.error_class = error_class
        self.latency_s = latency_s
        self.status = status
        self.retryable = retryable
        self.retry_after_s = retry_after_s
        self.attempts = attempts
