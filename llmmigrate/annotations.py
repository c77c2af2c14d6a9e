"""What CI systems read: GitHub workflow commands and JUnit XML.

Sources: docs.github.com, "Workflow commands for GitHub Actions", escapes included; the JUnit schema that Jenkins reads.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal
from xml.etree import ElementTree as ET

from llmmigrate.visible import visible

Level = Literal["error", "warning", "notice"]

_NOT_XML = re.compile(r"[^\t\n\r\u0020-\uD7FF\uE000-\uFFFD\U00010000-\U0010FFFF]")


def workflow_command(level: Level, message: str, **properties: str | int) -> str:
    """Return a line that GitHub shows as an annotation; properties are file, line, col, title."""
    places = ",".join(f"{name}={_property(str(value))}" for name, value in properties.items())
    return f"::{level} {places}::{_data(message)}"


def _data(text: str) -> str:
    text = "\r".join(map(visible, text.split("\r")))
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


@dataclass(frozen=True, slots=True)
class Case:
    """One test case: failed where it has `failures`; `output` is shown beside it.

    Without a failure it may have an `error`, which kept it from being decided, or have been `skipped`, with the reason.
    """

    name: str
    failures: Sequence[str] = ()
    output: Sequence[str] = ()
    error: str | None = None
    skipped: str | None = None


def junit(name: str, cases: Sequence[Case]) -> str:
    """Return a JUnit report of one suite."""
    suite = ET.Element("testsuite", name=_xml(name), tests=str(len(cases)))
    told: Counter[str] = Counter()
    for case in cases:
        element = ET.SubElement(suite, "testcase", classname=_xml(name.replace(" ", ".")), name=_xml(case.name))
        for kind, words in _kind(case):
            told[kind] += 1
            ET.SubElement(element, kind, message=_xml(words[0])).text = _xml("\n".join(words))
        if case.output:
            ET.SubElement(element, "system-out").text = _xml("\n".join(case.output))
    suite.attrib |= {"failures": str(told["failure"]), "errors": str(told["error"]), "skipped": str(told["skipped"])}
    ET.indent(suite)
    return ET.tostring(suite, encoding="unicode", xml_declaration=True)


def _kind(case: Case) -> Iterator[tuple[str, Sequence[str]]]:
    """Give what a case is besides passed, if anything: failed before it is anything else."""
    if case.failures:
        yield "failure", case.failures
    elif case.error is not None:
        yield "error", [case.error]
    elif case.skipped is not None:
        yield "skipped", [case.skipped]


def _xml(text: str) -> str:
    return _NOT_XML.sub("\ufffd", text)
