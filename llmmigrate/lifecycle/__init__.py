"""The life of a migration: pure decisions from a plan, a state and facts."""

from llmmigrate.lifecycle import requests
from llmmigrate.lifecycle.decide import (
    SUITE,
    WATCH_S,
    Draining,
    Facts,
    Mirrored,
    Reason,
    Shown,
    Transition,
    Wait,
    finish_rollback,
    next_step,
)
from llmmigrate.lifecycle.state import RouteState, Status

__all__ = [
    "SUITE",
    "WATCH_S",
    "Draining",
    "Facts",
    "Mirrored",
    "Reason",
    "RouteState",
    "Shown",
    "Status",
    "Transition",
    "Wait",
    "finish_rollback",
    "next_step",
    "requests",
]
