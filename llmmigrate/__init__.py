"""Schema migrations for the model behind an LLM feature.

The public API is `__all__`; it is imported on first use, so that `import llmmigrate` stays cheap.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from llmmigrate.exceptions import ModelError
    from llmmigrate.models.base import Chunk, Completion, ModelClient, ToolCall, Usage
    from llmmigrate.routing.async_router import AsyncRouter
    from llmmigrate.routing.core import Decision
    from llmmigrate.routing.router import Router

__version__ = "0.1.0"

__all__ = [
    "AsyncRouter",
    "Chunk",
    "Completion",
    "Decision",
    "ModelClient",
    "ModelError",
    "Router",
    "ToolCall",
    "Usage",
    "__version__",
]

_HOMES = {
    "AsyncRouter": "llmmigrate.routing.async_router",
    "Chunk": "llmmigrate.models.base",
    "Completion": "llmmigrate.models.base",
    "Decision": "llmmigrate.routing.core",
    "ModelClient": "llmmigrate.models.base",
    "ModelError": "llmmigrate.exceptions",
    "Router": "llmmigrate.routing.router",
    "ToolCall": "llmmigrate.models.base",
    "Usage": "llmmigrate.models.base",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        from importlib import import_module

        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
