"""What the documentation shows is what happens, and every command has its words."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from llmmigrate.cli.main import COMMANDS, FIRST
from tests.diagram import diagram

ROOT = Path(__file__).parents[1]


def sessions(file):
    """Return the console blocks of a page as lists of (command, expected output)."""
    found = []
    for block in re.findall(r"^```console\n(.*?)^```", file.read_text("utf-8"), re.DOTALL | re.MULTILINE):
        steps = re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]
        found.append([tuple(step.split("\n", 1)) for step in steps])
    return found


def normal(text):
    """Take out what differs between runs: ids, times, people, and how a table is spaced."""
    text = re.sub(r"(?<![0-9a-z])[a-f][0-9a-f]{11}(?![0-9a-z])", "REVISION", text)
    text = re.sub(r"\b20\d\d([-_])\d\d\1\d\d( \d\d:\d\d)?", "DATE", text)
    text = re.sub(r"\S+@\S+", "PERSON", text)
    text = re.sub(r"\b\d+ (s|m|h|d)\b( \d+ (s|m|h)\b)?", "TIME", text)
    return [re.sub(r" {2,}", "  ", line).strip() for line in text.strip().splitlines()]


@pytest.mark.parametrize("page", ["docs/tutorial.md"])
def test_sessions_run_as_they_are_shown(page, tmp_path):
    shown = 0
    for session in sessions(ROOT / page):
        for command, expected in session:
            words = shlex.split(command, comments=True)
            program = [sys.executable, "-m", "llmmigrate"] if words[0] == "llmmigrate" else [sys.executable]
            done = subprocess.run(
                [*program, *words[1:]],
                cwd=tmp_path,
                capture_output=True,
                text=True,
                stdin=subprocess.DEVNULL,
                timeout=120,
                check=False,
            )
            assert normal(done.stdout + done.stderr) == normal(expected), command
            shown += 1
    assert shown >= 5


def test_every_command_has_its_words():
    page = (ROOT / "docs" / "cli.md").read_text("utf-8")
    names = set(COMMANDS)
    described = set(re.findall(r"^## `llmmigrate ([\w-]+)", page, re.MULTILINE))
    assert described == names


def test_the_diagram_of_the_life_of_a_migration_is_the_code_s():
    assert diagram() in (ROOT / "docs" / "lifecycle.md").read_text("utf-8")


def test_the_readme_opens_with_the_two_commands():
    readme = (ROOT / "README.md").read_text("utf-8")
    assert readme.index("make demo") < readme.index("make test") < 900


def test_links_between_pages_lead_somewhere():
    for page in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text("utf-8")):
            assert (page.parent / target).exists(), (page.name, target)


def test_the_first_screen_says_what_each_command_says_of_itself():
    for name, words in FIRST.items():
        done = subprocess.run(
            [sys.executable, "-m", "llmmigrate", name, "--help"], capture_output=True, text=True, check=True
        )
        assert words in done.stdout, name
