"""A suite is read strictly, every error has its place, its files are read and hashed, and only content changes the hash."""

from __future__ import annotations

import base64


import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmmigrate.exceptions import DocumentInvalid, ExitCode
from llmmigrate.regression.assertions import Given, evaluate
from llmmigrate.regression.suite import json_schema, load_suite, read_suite
from llmmigrate.regression.variables import UnknownVariable, filled

FIRST = """\
name: support
cases:
  - id: hours
    input: "When do you open?"
    assert:
      - {contains: "9"}
"""
PIXEL = base64.b64decode("R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7")


def suite(text, files=None):
    def read(path):
        if files is None or path not in files:
            raise ValueError(f"{path} is not there")
        return files[path]

    return read_suite(text.encode(), "s.yaml", files=read)


def problems(text, files=None):
    with pytest.raises(DocumentInvalid) as caught:
        suite(text, files)
    assert caught.value.exit_code == ExitCode.UNFIT
    return [str(problem) for problem in caught.value.problems]


def test_a_suite_of_one_case_loads_and_its_assertion_is_evaluated():
    [case] = suite(FIRST).cases
    [round_] = case.rounds
    assert round_.messages == ({"role": "user", "content": "When do you open?"},)
    assert evaluate(round_.assertions[0], Given("At 9 o'clock.")).verdict == "pass"
    assert evaluate(round_.assertions[0], Given("Never.")).verdict == "fail"
