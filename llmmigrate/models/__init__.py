"""Calls to models: one small base class, and the clients that are shipped."""

from llmmigrate.models.base import ChatRequest, Completion, ModelClient, Usage
from llmmigrate.models.recorded import RecordedAnswer, RecordedClient

__all__ = ["ChatRequest", "Completion", "ModelClient", "RecordedAnswer", "RecordedClient", "Usage"]
