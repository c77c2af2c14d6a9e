"""Every identifier means what it means to Alembic: each goes through Alembic's own parser, and through ours."""

from __future__ import annotations

import re

import pytest
from alembic.script.revision import Revision, RevisionError, RevisionMap
from hypothesis import assume, given
from hypothesis import strategies as st

from llmmigrate.exceptions import GraphError, TargetNotFound
from llmmigrate.graph import Graph, is_relative
from tests.test_graph import document

REFUSED = "refused"
BASE = None

SUPPORT = ["aaaa1111", "aaaa2222", "bbbb3333"]
BILLING = ["cccc1111", "cccc2222", "aaaa1999"]


def chain(route, revisions):
    downs = [None, *revisions]
    return [
        document(own, downs[number], route, f"a/{number}", f"a/{number + 1}") for number, own in enumerate(revisions)
    ]


def alembic(lines, target, standing):
    """Return what Alembic moves to: a revision, BASE, or REFUSED; a route is a branch label to it."""
    revisions = [
        Revision(own, ([None, *line])[number], branch_labels=() if number else (route,))
        for route, line in lines.items()
        for number, own in enumerate(line)
    ]
    known = RevisionMap(lambda: revisions)
    current = tuple(revision for revision in standing.values() if revision is not None)
    try:
        if re.fullmatch(r"(.+@)?-\d+", target):
            found = (known._parse_downgrade_target(current, target, assert_relative_length=True)[1],)
        else:
            found = known._parse_upgrade_target(current, target, assert_relative_length=True)
    except (RevisionError, AssertionError):
        return REFUSED
    if found in ((), ("base",)):
        return BASE
    return found[0].revision if len(found) == 1 and found[0] is not None else REFUSED


def ours(lines, target, standing):
    graph = Graph([d for route, line in lines.items() for d in chain(route, line)])
    try:
        return graph.resolve(target, standing).revision
    except TargetNotFound:
        return REFUSED


ONE = [
    ("head", "bbbb3333"),
    ("heads", "bbbb3333"),
    ("base", BASE),
    ("support@head", "bbbb3333"),
    ("support@heads", "bbbb3333"),
    ("support@base", BASE),
    ("aaaa1111", "aaaa1111"),
    ("aaaa1", "aaaa1111"),
    ("bbbb", "bbbb3333"),
    ("aaaa", REFUSED),
    ("dddd", REFUSED),
    ("support@aaaa2", "aaaa2222"),
    ("+1", "bbbb3333"),
    ("+2", REFUSED),
    ("support@+1", "bbbb3333"),
    ("support@+2", REFUSED),
    ("-1", "aaaa1111"),
    ("-2", BASE),
    ("-3", REFUSED),
    ("support@-1", "aaaa1111"),
    ("support@-2", BASE),
    ("support@-3", REFUSED),
    ("+0", REFUSED),
    ("-0", REFUSED),
    ("aaaa1111+2", "bbbb3333"),
    ("aaaa1+1", "aaaa2222"),
    ("aaaa1111+3", REFUSED),
    ("bbbb3333-1", "aaaa2222"),
    ("bbbb-3", BASE),
    ("bbbb-4", REFUSED),
    ("bbbb+0", "bbbb3333"),
    ("head-1", "aaaa2222"),
    ("support@head-1", "aaaa2222"),
    ("base+1", "aaaa1111"),
    ("support@base+2", "aaaa2222"),
    ("nowhere@head", REFUSED),
    ("nowhere@+1", REFUSED),
]


@pytest.mark.parametrize(("target", "expected"), ONE)
def test_on_one_route_an_identifier_is_alembic_s(target, expected):
    lines, standing = {"support": SUPPORT}, {"support": "aaaa2222"}
    assert alembic(lines, target, standing) == expected
    assert ours(lines, target, standing) == expected


SEVERAL = [
    ("support@head", "bbbb3333"),
    ("billing@heads", "aaaa1999"),
    ("billing@base", BASE),
    ("support@+1", "bbbb3333"),
    ("billing@+1", "cccc1111"),
    ("billing@+3", "aaaa1999"),
    ("billing@+4", REFUSED),
    ("billing@-1", REFUSED),
    ("support@-1", "aaaa1111"),
    ("cccc1111", "cccc1111"),
    ("cccc2", "cccc2222"),
    ("aaaa1", REFUSED),
    ("support@aaaa1", "aaaa1111"),
    ("billing@aaaa1", "aaaa1999"),
    ("billing@aaaa2", REFUSED),
    ("support@cccc1111", REFUSED),
    ("support@cccc1111+1", REFUSED),
    ("support@bbbb-1", "aaaa2222"),
    ("cccc1111+1", "cccc2222"),
    ("cccc1111-1", BASE),
    ("heads", REFUSED),
]


@pytest.mark.parametrize(("target", "expected"), SEVERAL)
def test_on_several_routes_an_identifier_is_alembic_s(target, expected):
    lines, standing = {"support": SUPPORT, "billing": BILLING}, {"support": "aaaa2222", "billing": None}
    assert alembic(lines, target, standing) == expected
    assert ours(lines, target, standing) == expected


@st.composite
def worlds(draw):
    """Draw lines of revisions that begin alike, what each route stands on, and an identifier."""
    revision = st.text("ab1_", min_size=4, max_size=7).filter(lambda text: text[0].isalpha())
    names = draw(st.lists(revision, min_size=1, max_size=9, unique=True))
    routes = ["x-one", "y.two", "zthree"][: draw(st.integers(1, min(3, len(names))))]
    lines = {route: names[number :: len(routes)] for number, route in enumerate(routes)}
    standing = {route: draw(st.sampled_from([None, *line])) for route, line in lines.items()}
    name = draw(st.sampled_from(names))
    partial = name[: draw(st.integers(4, len(name)))]
    label = draw(st.sampled_from([None, *routes, "nowhere"]))
    symbol = draw(st.sampled_from([None, "head", "heads", "base", name, partial, "abab"]))
    steps = draw(st.one_of(st.none(), st.integers(-5, 5)))
    assume(symbol is not None or steps is not None)
    return lines, standing, label, symbol, steps


@given(worlds())
def test_any_identifier_on_any_lines_is_alembic_s(drawn):
    lines, standing, label, symbol, steps = drawn
    target = f"{label}@" if label else ""
    target += (symbol or "") + (f"{steps:+d}" if steps is not None else "")
    found = ours(lines, target, standing)
    if label is None and symbol in (None, "head", "heads", "base") and len(lines) > 1:
        assert found == REFUSED  # a route is to be named, where Alembic moves all branches or warns
        return
    if label == "nowhere":
        assert found == REFUSED  # Alembic looks for no branch beside base
        return
    if symbol == "base" and steps is not None and steps <= 0:
        assert found == (BASE if steps == 0 else REFUSED)  # Alembic goes on from the heads
        return
    everywhere = {revision for line in lines.values() for revision in line}
    if label and symbol and symbol not in everywhere and (steps or 0) > 0:
        return  # Alembic looks for a partial revision on all branches here, we on the one that is named
    assert found == alembic(lines, target, standing), target


@pytest.fixture
def graph():
    return Graph([*chain("support", SUPPORT), *chain("billing", BILLING)])


@pytest.mark.parametrize(
    ("target", "words"),
    [
        (None, "name a route: there are 2 (billing, support)"),
        ("head", "name a route: there are 2 (billing, support)"),
        ("base", "name a route: there are 2 (billing, support)"),
        ("+1", "name a route: there are 2 (billing, support)"),
        ("-1", "name a route: there are 2 (billing, support)"),
        ("nowhere", "there is no route or revision 'nowhere'; routes: billing, support"),
        ("nowhere@head", "there is no route or revision 'nowhere@head'"),
        ("", "there is no route or revision ''"),
        ("@", "there is no route or revision '@'"),
        ("support@", "there is no route or revision 'support@'"),
        ("@head", "there is no route or revision '@head'"),
        ("+", "there is no route or revision '+'"),
        ("aaaa1111+1x", "there is no route or revision 'aaaa1111+1x'"),
        ("aaa", "there is no route 'aaa', and 4 characters of a revision are the least"),
        ("aaaa1", "'aaaa1' is the beginning of 2 revisions: aaaa1111, aaaa1999"),
        ("support@aaaa", "'aaaa' is the beginning of 2 revisions: aaaa1111, aaaa2222"),
        ("support@cccc1111", "revision cccc1111 belongs to route billing, not support"),
        ("support@+2", "'support@+2' leads past the head of route support, 1 step above aaaa2222"),
        ("support@head+1", "'support@head+1' leads past the head of route support, 0 steps above bbbb3333"),
        ("support@-3", "'support@-3' leads past base of route support, 2 steps below aaaa2222"),
        ("billing@-1", "'billing@-1' leads past base of route billing, 0 steps below base"),
        ("support@+0", "'support@+0' leads nowhere: say how many steps"),
    ],
)
def test_what_means_nothing_is_refused_in_one_sentence_with_a_next_step(graph, target, words):
    with pytest.raises(TargetNotFound) as raised:
        graph.resolve(target, {"support": "aaaa2222"})
    assert words in raised.value.message
    assert raised.value.hint
    assert raised.value.exit_code == 1


def test_a_route_s_name_comes_before_a_revision_s():
    graph = Graph([*chain("aaaa1111", ["bbbb1", "bbbb2"]), *chain("other-1", ["aaaa1111", "other"])])
    assert graph.resolve("aaaa1111").revision == "bbbb2"
    assert graph.resolve("other-1").revision == "other"
    assert graph.resolve("other-1@aaaa1111").revision == "aaaa1111"
    assert graph.resolve("other-1@other-1").revision == "aaaa1111"


def test_current_is_what_a_route_stands_on(graph):
    standing = {"support": "aaaa2222"}
    assert graph.resolve("support@current", standing).revision == "aaaa2222"
    assert graph.resolve("support@current+1", standing).revision == "bbbb3333"
    assert graph.resolve("billing@current", standing).revision is None
    with pytest.raises(GraphError, match="stands on gone0, which no document describes"):
        graph.resolve("support@+1", {"support": "gone0"})


@pytest.mark.parametrize("target", ["+1", "-12", "support@-1", "current", "support@current-1"])
def test_a_relative_target_wants_to_know_where_its_route_stands(target):
    assert is_relative(target)


@pytest.mark.parametrize("target", [None, "head", "support", "aaaa-1", "support@head", "support@aaaa+1", "base", ""])
def test_any_other_target_does_not(target):
    assert not is_relative(target)


def test_a_partial_revision_is_sought_in_routes_at_fault_too(graph):
    broken = Graph([*graph.documents, document("aaaa7777", "gone1", route="third")])
    with pytest.raises(TargetNotFound, match="beginning of 4 revisions: aaaa1111, aaaa1999, aaaa2222, aaaa7777"):
        broken.resolve("aaaa")
    with pytest.raises(GraphError, match="does not exist"):
        broken.resolve("aaaa7")
    assert broken.resolve("cccc1").revision == "cccc1111"
