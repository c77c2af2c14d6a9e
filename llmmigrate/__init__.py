"""Schema migrations for the model behind an LLM feature.

The public API is `__all__`; it is imported on first use, so that `import llmmigrate` stays cheap.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from llmmigrate.models.base import Completion, ModelClient, Usage
    from llmmigrate.routing.router import Decision, Router

__version__ = "0.1.0"

__all__ = ["Completion", "Decision", "ModelClient", "Router", "Usage", "__version__"]

_HOMES = {
    "Completion": "llmmigrate.models.base",
    "Decision": "llmmigrate.routing.router",
    "ModelClient": "llmmigrate.models.base",
    "Router": "llmmigrate.routing.router",
    "Usage": "llmmigrate.models.base",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        from importlib import import_module

        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
