"""Texts of sampled requests, for judges, reviews and suites: redacted in this process, and never spooled to a file."""

from __future__ import annotations

import hashlib
import json
import logging
import random
import uuid
from collections import deque
from collections.abc import Callable, Mapping
from datetime import datetime
from threading import Lock
from typing import TYPE_CHECKING, Any

from llmmigrate.models import Completion
from llmmigrate.redaction import redact
from llmmigrate.settings import MAX_INPUT_TYPE_LENGTH
from llmmigrate.store.telemetry import Sample

if TYPE_CHECKING:
    from llmmigrate.routing.calls import Asked
    from llmmigrate.routing.core import Decision

_log = logging.getLogger(__name__)

MAX_SAMPLES, MAX_TEXT = 200, 64 * 1024
"""Samples kept until the next flush, and characters of each text; what is beyond is left out."""

Redact = Callable[[str], str]


class Sampler:
    """Keeps the texts of some requests. `shares` are by route; `more` redacts what the rules here do not know."""

    def __init__(self, shares: Mapping[str, float], more: Redact | None = None) -> None:
        self._shares = shares
        self._more = more
        self._lock = Lock()
        self._kept: deque[Sample] = deque(maxlen=MAX_SAMPLES)

    def draw(self, route: str) -> str | None:
        """Return the id under which a request's texts are kept together, None where they are not kept."""
        share = self._shares.get(route, 0.0)
        return uuid.uuid4().hex if share > 0 and random.random() < share else None  # noqa: S311 (no secret)

    def keep(self, pair: str, decision: Decision, asked: Asked, completion: Completion, *, at: datetime) -> None:
        """Keep one answer with its request; a text that cannot be redacted is kept nowhere."""
        request = {"messages": list(asked.messages), "tools": list(asked.tools), "system": decision.system}
        answer = {
            "text": completion.text,
            "tool_calls": [[call.name, call.arguments] for call in completion.tool_calls],
            "finish_reason": completion.finish_reason,
        }
        try:
            sample = Sample(
                id=uuid.uuid4().hex,
                route=decision.route,
                generation=decision.generation,
                arm=decision.arm,
                at=at,
                pair=pair,
                unit=hashlib.sha256(f"{decision.revision}{decision.unit}".encode()).hexdigest()[:16],
                input_type=self._clean(decision.input_type)[:MAX_INPUT_TYPE_LENGTH],
                request=self._written(request),
                response=self._written(answer),
                facts=json.dumps({"model": decision.model, "latency_s": completion.latency_s}),
            )
        except Exception as error:  # noqa: BLE001 (a user's hook may raise anything; the user's call goes on)
            _log.warning("a sample could not be redacted and is not kept: %s", type(error).__name__)
            return
        with self._lock:
            self._kept.append(sample)

    def take(self) -> list[Sample]:
        """Hand over what was kept."""
        with self._lock:
            kept = list(self._kept)
            self._kept.clear()
        return kept

    def give_back(self, samples: list[Sample]) -> None:
        """Keep again what could not be delivered, the newest first in line where not all fits."""
        with self._lock:
            self._kept.extendleft(reversed(samples[-(MAX_SAMPLES - len(self._kept)) :] if samples else []))

    def _written(self, value: Any) -> str:
        return json.dumps(self._redacted(value), ensure_ascii=False)

    def _redacted(self, value: Any) -> Any:
        """Redact every text inside plain data, keys too; what is no plain data is left out."""
        if isinstance(value, str):
            return self._clean(value)
        if isinstance(value, Mapping):
            return {self._clean(str(key)): self._redacted(item) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [self._redacted(item) for item in value]
        return value if value is None or isinstance(value, (bool, int, float)) else None

    def _clean(self, text: str) -> str:
        text = redact(text[:MAX_TEXT])
        text = self._more(text) if self._more is not None else text
        return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode()  # as every database keeps it
