"""Revisions form one line per route, found by name, revision or the beginning of one."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmmigrate.document import load_text
from llmmigrate.exceptions import GraphError, TargetNotFound
from llmmigrate.graph import Graph

EXAMPLE = next((Path(__file__).parents[1] / "migrations" / "versions").glob("*.yaml")).read_text("utf-8")


def document(revision, down=None, route="support-agent", current="a/one", target="a/two"):
    text = EXAMPLE.replace("d9c5468b4dd9", revision).replace("down_revision: null", f"down_revision: {down or 'null'}")
    text = text.replace("route: support-agent", f"route: {route}")
    text = text.replace('"openai/gpt-4o"', current).replace('"openai/gpt-5.1"', target)
    return load_text(text, f"{revision}.yaml")


@pytest.fixture
def graph():
    return Graph(
        [
            document("bbbb00000002", "bbbb00000001", current="a/two", target="a/three"),
            document("bbbb00000001"),
            document("cccc00000001", route="summaries"),
        ]
    )


def test_documents_are_ordered_per_route(graph):
    assert [d.migration.revision for d in graph.line("support-agent")] == ["bbbb00000001", "bbbb00000002"]
    assert graph.routes == ["summaries", "support-agent"]
    assert graph.head("nowhere") is None


def test_the_next_document_follows_the_one_a_route_stands_on(graph):
    assert graph.after("support-agent", None).migration.revision == "bbbb00000001"
    assert graph.after("support-agent", "bbbb00000001").migration.revision == "bbbb00000002"
    assert graph.after("support-agent", "bbbb00000002") is None
    assert graph.after("support-agent", "gone") is None


@pytest.mark.parametrize(
    ("target", "found"),
    [
        ("support-agent", ("support-agent", "bbbb00000002")),
        ("support-agent@head", ("support-agent", "bbbb00000002")),
        ("bbbb00000001", ("support-agent", "bbbb00000001")),
        ("cccc", ("summaries", "cccc00000001")),
    ],
)
def test_targets_are_routes_and_revisions(graph, target, found):
    assert graph.resolve(target) == found


@pytest.mark.parametrize("target", [None, "bbbb", "ccc", "", "nowhere"])
def test_what_is_not_one_target_is_refused(graph, target):
    with pytest.raises(TargetNotFound):
        graph.resolve(target)


@pytest.mark.parametrize(
    ("documents", "message"),
    [
        ([document("dddd1"), document("dddd1")], "stands in"),
        ([document("dddd1"), document("dddd2")], "has 2 heads: dddd1, dddd2"),
        ([document("dddd2", "dddd1")], "does not exist"),
        ([document("dddd1"), document("dddd2", "dddd1", route="other", current="a/two")], "belongs to route"),
        ([document("dddd1"), document("dddd2", "dddd1", current="a/one", target="a/x")], "current must equal"),
        (
            [
                document("dddd1", "dddd2", current="a/two", target="a/one"),
                document("dddd2", "dddd1", current="a/one", target="a/two"),
            ],
            "ycle",
        ),
        ([document("dddd1", "dddd1", current="a/one", target="a/two")], "."),
    ],
)
def test_a_broken_line_is_refused(documents, message):
    with pytest.raises(GraphError, match=message):
        Graph(documents)
