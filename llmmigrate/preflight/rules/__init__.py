"""Provider facts that break a migration, each a rule. A module of this folder adds its own by naming them in RULES."""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

from llmmigrate.preflight.case import Rule

PROVIDER_RULES: tuple[Rule, ...] = tuple(
    rule
    for module in sorted(iter_modules(__path__), key=lambda module: module.name)
    for rule in import_module(f"{__name__}.{module.name}").RULES
)
"""In the order of their modules' names; `docs/preflight.md` has them as a table."""
