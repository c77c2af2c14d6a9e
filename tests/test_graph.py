"""Revisions form one line per route; what is wrong with one route is no matter to the others."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmmigrate.document import load_folder, load_text
from llmmigrate.exceptions import GraphError, MultipleHeads
from llmmigrate.graph import Graph, Target
from llmmigrate.head_files import head_file_faults, write_head

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


def test_current_is_the_target_below_whatever_their_limits():
    first = load_text(document("bbbb00000001").text.replace("\ntarget:", "\ntarget:\n  limits: {rpm: 500}"), "1.yaml")
    text = document("bbbb00000002", "bbbb00000001", current="a/two", target="a/three").text
    for limits in ("", "\n  limits: {rpm: 500}", "\n  limits: {rpm: 800, tpm: 90000}"):
        second = load_text(text.replace("\ncurrent:", f"\ncurrent:{limits}"), "2.yaml")
        assert Graph([first, second]).faults == []


FAULTS = [
    ([document("dddd1"), document("dddd1")], "stands in dddd1.yaml and in dddd1.yaml"),
    ([document("dddd1"), document("dddd2")], "has 2 heads: dddd1, dddd2, and 2 bases: dddd1, dddd2"),
    (
        [document("dddd1"), *(document(r, "dddd1", current="a/two", target="a/x") for r in ("dddd2", "dddd3"))],
        "has 2 heads: dddd2, dddd3$",
    ),
    ([document("dddd2", "dddd1")], "dddd2.yaml: down_revision dddd1 does not exist"),
    (
        [document("dddd1"), document("dddd2", "cccc1", current="a/two", target="a/x")],
        "belongs to route summaries, not support-agent",
    ),
    (
        [document("dddd1"), document("dddd2", "dddd1", current="a/one", target="a/x")],
        "current must equal the target of",
    ),
    (
        [
            document("dddd1", "dddd2", current="a/two", target="a/one"),
            document("dddd2", "dddd1", current="a/one", target="a/two"),
            document("dddd3"),
        ],
        "in a circle: dddd1, dddd2$",
    ),
]


@pytest.mark.parametrize(("documents", "message"), FAULTS)
def test_a_fault_of_one_route_is_raised_for_it_and_stops_no_other(documents, message):
    graph = Graph([document("cccc1", route="summaries"), *documents])
    assert graph.routes == ["summaries", "support-agent"]
    assert {fault.route for fault in graph.faults} == {"support-agent"}
    asks = [
        lambda: graph.line("support-agent"),
        lambda: graph.head("support-agent"),
        lambda: graph.after("support-agent", None),
        lambda: graph.resolve("support-agent"),
        lambda: graph.resolve("support-agent@head"),
        lambda: graph.resolve("support-agent@base"),
        lambda: graph.resolve("support-agent@+1"),
        lambda: graph.resolve(documents[0].migration.revision),
    ]
    for ask in asks:
        with pytest.raises(GraphError, match=message) as raised:
            ask()
        assert raised.value.route == "support-agent"
        assert raised.value.exit_code == 6
    assert graph.resolve("summaries@+1", {"summaries": None}) == Target("summaries", "cccc1")
    assert [d.migration.revision for d in graph.line("summaries")] == ["cccc1"]
    assert graph.get(documents[0].migration.revision) is documents[0]


def test_a_revision_that_two_routes_have_is_a_fault_of_both():
    graph = Graph([document("dddd1"), document("dddd1", route="summaries"), document("eeee1", route="third")])
    assert [fault.route for fault in graph.faults] == ["summaries", "support-agent"]
    for target in ("summaries", "support-agent", "dddd1"):
        with pytest.raises(GraphError, match="stands in"):
            graph.resolve(target)
    assert graph.resolve("third").revision == "eeee1"


def test_several_heads_are_named_and_the_youngest_is_the_one_to_rebase():
    def aged(revision, created):
        old = document(revision, "dddd1", current="a/two", target="a/x")
        return load_text(old.text.replace("created: 2026-11-23", f"created: {created}"), old.name)

    graph = Graph([document("dddd1"), aged("dddd2", "2026-12-02"), aged("dddd3", "2026-12-01")])
    with pytest.raises(MultipleHeads) as raised:
        graph.line("support-agent")
    assert raised.value.heads == ("dddd3", "dddd2")
    assert raised.value.hint.endswith("llmmigrate rebase dddd2")
    body = raised.value.as_dict()
    assert (body["code"], body["route"], body["heads"]) == ("multiple_heads", "support-agent", ["dddd3", "dddd2"])
    assert graph.heads("support-agent") == ["dddd3", "dddd2"]


def test_heads_are_told_whatever_is_wrong(graph):
    assert graph.heads("support-agent") == ["bbbb00000002"]
    assert graph.heads("nowhere") == []
    circle = [document("dddd1", "dddd2", current="a/two", target="a/one"), document("dddd2", "dddd1")]
    assert Graph(circle).heads("support-agent") == []


def test_all_faults_of_a_route_are_kept():
    graph = Graph([document("dddd1"), document("dddd2", "dddd1", current="a/one", target="a/x"), document("dddd3")])
    messages = [fault.message for fault in graph.faults]
    assert len(messages) == 2
    assert "has 2 heads" in messages[0]
    assert "current must equal" in messages[1]


@given(st.data())
def test_any_heap_of_documents_is_ordered_or_at_fault(data):
    """Whatever parents are named: a route has a line from base to head with all its documents, or a fault."""
    names = [f"rev{number}" for number in range(data.draw(st.integers(1, 7)))]

    def parent(name):
        return st.one_of(st.none(), st.sampled_from([*(other for other in names if other != name), "gone"]))

    documents = [
        document(
            name, data.draw(parent(name)), route=data.draw(st.sampled_from(["one", "two"])), current="a/x", target="a/y"
        )
        for name in names
    ]
    graph = Graph(documents)
    faulty = {fault.route for fault in graph.faults}
    for route in graph.routes:
        own = [d for d in documents if d.migration.route == route]
        if route in faulty:
            with pytest.raises(GraphError):
                graph.line(route)
            continue
        line = graph.line(route)
        assert sorted(d.name for d in line) == sorted(d.name for d in own)
        downs = [None, *(d.migration.revision for d in line)]
        assert [d.migration.down_revision for d in line] == downs[:-1]
        assert graph.heads(route) == [graph.head(route).migration.revision]
        assert len(line) == 1, "in this test current never follows on target, so that longer lines are at fault"


def test_building_a_graph_and_plain_targets_need_no_alembic():
    script = (
        "import sys\n"
        "from tests.test_graph import Graph, document\n"
        "graph = Graph([document('bbbb1'), document('cccc1', route='summaries')])\n"
        "for target in ('summaries', 'bbbb1', 'summaries@head', 'summaries@base', 'summaries@+1', 'bbbb1-1'):\n"
        "    graph.resolve(target)\n"
        "Graph([document('bbbb1')]).resolve(None)\n"
        "print([m for m in sys.modules if m.split('.')[0] == 'alembic'])"
    )
    root = Path(__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", script], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_head_files_are_held_against_the_heads_there_are(graph, tmp_path):
    assert head_file_faults(graph, tmp_path / "none") == []
    write_head(tmp_path, "support-agent", "bbbb00000002")
    write_head(tmp_path, "summaries", "cccc00000001")
    assert head_file_faults(graph, tmp_path) == []
    write_head(tmp_path, "support-agent", "bbbb00000001")
    [fault] = head_file_faults(graph, tmp_path)
    assert fault.message == "the head file of route support-agent names bbbb00000001; its head is bbbb00000002"
    assert (fault.hint, fault.route) == ("llmmigrate rebase bbbb00000002", "support-agent")
    (tmp_path / "support-agent").write_text("<<<<<<< HEAD\nbbbb00000001\n=======\nbbbb00000002\n>>>>>>> other\n")
    [fault] = head_file_faults(graph, tmp_path)
    assert "is in conflict: two branches added to the route" in fault.message
    (tmp_path / "support-agent").write_bytes(b"\xff\r\n")
    assert len(head_file_faults(graph, tmp_path)) == 1
    (tmp_path / "support-agent").write_bytes(b"bbbb00000002\r\n")
    assert head_file_faults(graph, tmp_path) == []


def test_the_head_file_of_this_repository_is_right():
    migrations = Path(__file__).parents[1] / "migrations"
    graph = Graph(load_folder(migrations / "versions", root=migrations.parent))
    assert (graph.faults, head_file_faults(graph, migrations / "heads")) == ([], [])
    assert {file.name for file in (migrations / "heads").iterdir()} == set(graph.routes)
