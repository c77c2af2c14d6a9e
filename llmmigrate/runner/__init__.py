"""The runner: one tick at a time, the same for every command, the controller, the simulator and the demo."""

from llmmigrate.runner.controller import Controller, RouteRound, guard
from llmmigrate.runner.rollback import DowngradeResult, downgrade, undo
from llmmigrate.runner.tick import TickResult, tick
from llmmigrate.runner.upgrade import UpgradeResult, edited_document, preview, reached, suite_hash, upgrade

__all__ = [
    "Controller",
    "DowngradeResult",
    "RouteRound",
    "TickResult",
    "UpgradeResult",
    "downgrade",
    "edited_document",
    "guard",
    "preview",
    "reached",
    "suite_hash",
    "tick",
    "undo",
    "upgrade",
]
