"""Calls to models: one small base class, and the clients that are shipped."""

from llmmigrate.models.base import ChatRequest, Chunk, Completion, ModelClient, ToolCall, ToolCallDelta, Usage
from llmmigrate.models.choose import Clients, default_clients
from llmmigrate.models.recorded import RecordedAnswer, RecordedClient

__all__ = [
    "ChatRequest",
    "Chunk",
    "Clients",
    "Completion",
    "ModelClient",
    "RecordedAnswer",
    "RecordedClient",
    "ToolCall",
    "ToolCallDelta",
    "Usage",
    "default_clients",
]
