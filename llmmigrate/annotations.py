"""What CI systems read: GitHub workflow commands and JUnit XML.

Sources: docs.github.com, "Workflow commands for GitHub Actions", escapes included; the JUnit schema that Jenkins reads.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal
from xml.etree import ElementTree as ET

Level = Literal["error", "warning", "notice"]

_NOT_XML = re.compile(r"[^\t\n\r\u0020-\uD7FF\uE000-\uFFFD\U00010000-\U0010FFFF]")


def workflow_command(level: Level, message: str, **properties: str | int) -> str:
    """Return a line that GitHub shows as an annotation; properties are file, line, col, title."""
    places = ",".join(f"{name}={_property(str(value))}" for name, value in properties.items())
    return f"::{level} {places}::{_data(message)}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


@dataclass(frozen=True, slots=True)
class Case:
    """One test case: failed where it has `failures`; `output` is shown beside it."""

    name: str
    failures: Sequence[str] = ()
    output: Sequence[str] = ()


def junit(name: str, cases: Sequence[Case]) -> str:
    """Return a JUnit report of one suite."""
    failed = sum(bool(case.failures) for case in cases)
    suite = ET.Element("testsuite", name=name, tests=str(len(cases)), failures=str(failed), errors="0", skipped="0")
    for case in cases:
        element = ET.SubElement(suite, "testcase", classname=name.replace(" ", "."), name=_xml(case.name))
        if case.failures:
            failure = ET.SubElement(element, "failure", message=_xml(case.failures[0]))
            failure.text = _xml("\n".join(case.failures))
        if case.output:
            ET.SubElement(element, "system-out").text = _xml("\n".join(case.output))
    ET.indent(suite)
    return ET.tostring(suite, encoding="unicode", xml_declaration=True)


def _xml(text: str) -> str:
    return _NOT_XML.sub("\ufffd", text)
