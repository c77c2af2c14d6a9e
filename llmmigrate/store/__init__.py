"""The store: state, history and telemetry in SQL."""

from llmmigrate.store.store import Store

__all__ = ["Store"]
