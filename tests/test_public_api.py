"""What a user may import stays what it is."""

from __future__ import annotations

import subprocess
import sys

import pytest

import llmmigrate
import llmmigrate.gates


def test_the_public_names_are_pinned_and_there():
    assert llmmigrate.__all__ == [
        "AsyncRouter",
        "Chunk",
        "Completion",
        "Decision",
        "ModelClient",
        "ModelError",
        "Router",
        "ToolCall",
        "Usage",
        "__version__",
    ]
    assert llmmigrate.gates.__all__ == [
        "ShiryaevRoberts",
        "beta_binomial_log_e",
        "event_increase",
        "event_share",
        "normal_mixture_half_width",
        "proportion_interval",
        "quantile_bound",
        "quantile_difference",
        "quantile_floor",
        "quantile_interval",
        "sample_ratio_log_e",
    ]
    for name in llmmigrate.__all__:
        assert getattr(llmmigrate, name) is not None


def test_a_name_that_is_not_there_is_an_attribute_error():
    with pytest.raises(AttributeError, match="Nothing"):
        _ = llmmigrate.Nothing


def test_importing_the_package_is_cheap():
    script = "import sys, llmmigrate; print([m for m in ('sqlalchemy', 'numpy', 'pydantic') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
