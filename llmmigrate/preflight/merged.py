"""What git knows: documents that were merged, and differ now."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from llmmigrate.document import Document, decoded, load_text
from llmmigrate.exceptions import DocumentInvalid, SettingsError
from llmmigrate.settings import Settings


@dataclass(frozen=True, slots=True)
class Changed:
    """A document of the base branch whose content is another one now; `now` is None where it is gone."""

    name: str
    route: str
    revision: str
    now: Document | None


def changed_since(settings: Settings, documents: Sequence[Document], base: str) -> Iterator[Changed]:
    """Yield the documents at a git revision whose content is not that of today; white space is no change.

    Raises SettingsError where git does not know the revision, or there is no git.
    """
    by_revision = {document.migration.revision: document for document in documents}
    for name in _names(settings, base):
        text = _git(settings, "show", f"{base}:./{name}")
        try:
            before = load_text(text, name, prompts=_Prompts(settings, base))
        except DocumentInvalid:
            continue  # what was not valid then was never applied
        revision = before.migration.revision
        now = by_revision.get(revision)
        if now is None or now.hash != before.hash:
            yield Changed(name, before.migration.route, revision, now)


class _Prompts:
    """Reads prompts as they were at a git revision."""

    def __init__(self, settings: Settings, base: str) -> None:
        self._settings, self._base = settings, base

    def __call__(self, path: str) -> str:
        file = os.path.relpath(self._settings.root / path, self._settings.versions)
        try:
            text = _git(self._settings, "show", f"{self._base}:./{file}")
        except SettingsError as error:
            raise ValueError(f"{path} was not there at {self._base}") from error
        return decoded(text.encode("utf-8"), path)


def _names(settings: Settings, base: str) -> list[str]:
    if base.startswith("-"):
        raise SettingsError(f"{base!r} is no git revision", hint="name one such as origin/main")
    found = _git(settings, "ls-tree", "--name-only", "-z", base, "./").split("\0")
    return sorted(name for name in found if name.endswith((".yaml", ".yml")))


def _git(settings: Settings, *arguments: str) -> str:
    try:
        done = subprocess.run(  # noqa: S603 (no shell; a revision that looks like an option is refused)
            ["git", *arguments],  # noqa: S607 (the git that the user works with)
            cwd=settings.versions,
            capture_output=True,
            timeout=60,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SettingsError(f"git cannot be asked: {error}", hint="leave --git-base out") from error
    if done.returncode != 0:
        words = done.stderr.decode("utf-8", "replace").strip().splitlines()
        raise SettingsError(
            f"git does not answer: {words[0] if words else 'no reason given'}", hint="is --git-base right?"
        )
    return done.stdout.decode("utf-8", "replace")
