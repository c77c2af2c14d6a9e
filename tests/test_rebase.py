"""Two branches that both add to a route conflict in git, and the second head is made to follow the other."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmmigrate import scaffold
from llmmigrate.document import Endpoint, load_text
from llmmigrate.exceptions import GraphError, MultipleHeads, RefusedError, TargetNotFound
from llmmigrate.graph import Graph
from llmmigrate.head_files import head_file_faults
from llmmigrate.rebase import follow, rebase
from tests.conftest import ROUTE
from tests.test_graph import EXAMPLE


def branch(world, below, target, **options):
    """Add a document as a branch does that knows only the documents `below`; return its revision."""
    known = Graph([world.graph().get(revision) for revision in below])
    made = scaffold.new(
        world.config,
        known,
        message=f"Move to {target}",
        route=ROUTE,
        current=None if below else "fake/old",
        target=target,
        driver="tests@example.com",
        now=world.clock.now(),
        template="demo",
        **options,
    )
    world.clock.advance(60)
    return made.document.migration.revision


@pytest.fixture
def forked(world):
    """Return (base, first head, second head) of a route to which two branches added a document."""
    base = branch(world, [], "fake/new", revision="base1")
    first = branch(world, [base], "fake/first", revision="head1")
    second = branch(world, [base], "fake/second", revision="head2")
    return base, first, second


def file_of(world, revision):
    return world.config.versions / world.graph().get(revision).name


def contents(world):
    return {file: file.read_bytes() for file in world.config.migrations.rglob("*") if file.is_file()}


def test_a_second_head_follows_the_other_and_nothing_else_changes(world, forked):
    base, first, second = forked
    before, file = contents(world), file_of(world, second)
    assert world.graph().heads(ROUTE) == [first, second]
    result = rebase(world.config, world.graph(), second, set())
    assert (result.route, result.head, result.onto, result.file) == (ROUTE, second, first, file)
    assert [d.migration.revision for d in world.graph().line(ROUTE)] == [base, first, second]
    assert world.graph().get(second).migration.current.model == "fake/first"
    assert (world.config.heads / ROUTE).read_text() == f"{second}\n"
    assert head_file_faults(world.graph(), world.config.heads) == []
    after = contents(world)
    assert {path for path in after if after[path] != before.get(path)} == {file}
    changed = [
        (old, new) for old, new in zip(before[file].splitlines(), after[file].splitlines(), strict=True) if old != new
    ]
    assert changed == [
        (b"down_revision: base1" + REMARK, b'down_revision: "head1"' + REMARK),
        (b'  model: "fake/new"', b'  model: "fake/first"'),
    ]


def test_the_first_head_may_be_the_one_that_moves(world, forked):
    base, first, second = forked
    rebase(world.config, world.graph(), first, {base, second})
    assert [d.migration.revision for d in world.graph().line(ROUTE)] == [base, second, first]
    assert (world.config.heads / ROUTE).read_text() == f"{first}\n"


@pytest.mark.parametrize("named", ["head2", "head3"])
def test_of_a_branch_the_first_document_moves(world, forked, named):
    base, first, second = forked
    third = branch(world, [base, second], "fake/third", revision="head3")
    before = file_of(world, third).read_bytes()
    result = rebase(world.config, world.graph(), named, set())
    assert result.document.migration.revision == second
    assert [d.migration.revision for d in world.graph().line(ROUTE)] == [base, first, second, third]
    assert file_of(world, third).read_bytes() == before
    assert (world.config.heads / ROUTE).read_text() == f"{third}\n"


def test_two_lines_that_both_began_at_base_become_one(world):
    first = branch(world, [], "fake/new", revision="base1")
    second = branch(world, [], "fake/second", revision="base2")
    with pytest.raises(MultipleHeads, match="2 bases"):
        world.graph().line(ROUTE)
    rebase(world.config, world.graph(), second, {first})
    assert [d.migration.revision for d in world.graph().line(ROUTE)] == [first, second]


def test_of_three_heads_it_is_said_which_one_to_follow(world, forked):
    base, first, second = forked
    third = branch(world, [base], "fake/third", revision="head3")
    with pytest.raises(RefusedError, match="2 other heads, head1, head2") as raised:
        rebase(world.config, world.graph(), third, set())
    assert raised.value.hint == "add --onto head1"
    with pytest.raises(RefusedError, match="base1 is not another head"):
        rebase(world.config, world.graph(), third, set(), onto=base)
    rebase(world.config, world.graph(), third, set(), onto=first)
    assert world.graph().heads(ROUTE) == [second, third]
    rebase(world.config, world.graph(), second, set())
    assert [d.migration.revision for d in world.graph().line(ROUTE)] == [base, first, third, second]


def refused(world, words, revision, applied=(), error=RefusedError, **options):
    before = contents(world)
    with pytest.raises(error, match=words):
        rebase(world.config, world.graph(), revision, set(applied), **options)
    assert contents(world) == before


def test_what_cannot_be_rebased_is_refused_with_nothing_written(world, forked):
    base, first, second = forked
    refused(world, "base1 is not a head: head1 and head2 both follow it", base)
    refused(world, "head2 was applied already", second, [base, second])
    refused(world, "no route or revision 'head9'", "head9", error=TargetNotFound)
    same = branch(world, [base], "fake/first", revision="head3")
    refused(world, "head3 moves to fake/first, and so does head1", same, onto=first)
    third = branch(world, [base, second], "fake/third", revision="head4")
    refused(world, "head2 was applied already", third, [second], onto=first)


def test_one_head_is_nothing_to_rebase_but_its_head_file_is_put_right(world):
    only = branch(world, [], "fake/new", revision="base1")
    refused(world, "has one head, base1", only)
    (world.config.heads / ROUTE).write_text("<<<<<<< ours\nbase1\n=======\ngone1\n>>>>>>> theirs\n")
    document = file_of(world, only).read_bytes()
    result = rebase(world.config, world.graph(), only, {only})
    assert (result.file, result.head_file.read_text()) == (None, "base1\n")
    assert file_of(world, only).read_bytes() == document


def test_a_route_with_more_wrong_than_its_heads_is_not_touched(world, forked):
    file = file_of(world, "head1")
    file.write_text(file.read_text().replace('model: "fake/new"', 'model: "fake/other"'))
    refused(world, "current must equal", "head2", error=GraphError)


def test_a_file_that_changed_meanwhile_is_not_overwritten(world, forked):
    graph, file = world.graph(), file_of(world, "head2")
    file.write_text(file.read_text() + "# a word\n")
    before = contents(world)
    with pytest.raises(RefusedError, match="was changed meanwhile"):
        rebase(world.config, graph, "head2", set())
    assert contents(world) == before


def test_byte_order_mark_line_ends_and_mode_are_kept(world, forked):
    file = file_of(world, "head2")
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes().replace(b"\n", b"\r\n"))
    file.chmod(0o600)
    rebase(world.config, world.graph(), "head2", set())
    raw = file.read_bytes()
    assert raw.startswith(b"\xef\xbb\xbf")
    assert raw.count(b"\n") == raw.count(b"\r\n") > 20
    assert file.stat().st_mode & 0o777 == 0o600
    assert world.graph().faults == []
    assert [path.name for path in file.parent.iterdir() if path.name.endswith(".new")] == []


def test_what_cannot_be_changed_in_place_is_left_to_a_person(world, forked):
    below = file_of(world, "head1")
    below.write_text(below.read_text().replace('"fake/first"\n  params: {}', '"fake/first"\n  params: {top_p: 1}'))
    file = file_of(world, "head2")
    text = file.read_text()
    plainer, count = re.subn(r"current: .*\n  model: (.*)\n  params: (.*)\n", r"current: !!map\n  {model: \1}\n", text)
    assert count == 1
    file.write_text(plainer)
    with pytest.raises(RefusedError, match="is not written so that it can be changed in place") as raised:
        rebase(world.config, world.graph(), "head2", set())
    assert "down_revision to head1" in raised.value.hint


REMARK = b"    # the revision below it on this route"

CURRENT = [
    "current:  # what serves now\n  # a word\n  model: a/one   # its name\n  params: {top_p: 1}  # all\n\n# below\n",
    "current:\n  model: >-\n    a/one\n  params:\n    # nested\n    top_p: 1\n    stop: [a,\n      b]\n# below\n",
    "current: {model: a/one, params: {top_p: 1}, retires: null}  # flow\n",
    "current: {\n  model: 'a/one'\n}\n",
    "current:\n    model: 'a/één' # ünïcödé\n    retires: 2027-05-01\n",
    "current:\n  params:\n  model: a/one\n".replace("  params:\n", ""),
]
VALUES = st.one_of(st.booleans(), st.integers(-9, 10**6), st.floats(allow_nan=False, allow_infinity=False), st.text())
PARAMS = st.dictionaries(st.text(min_size=1, max_size=8), VALUES | st.lists(VALUES, max_size=3), max_size=3)


@given(
    current=st.sampled_from(CURRENT),
    down=st.sampled_from(["down_revision: null # none\n", "down_revision: 'abcd1'\n", "down_revision:\n", ""]),
    model=st.sampled_from(["openai/gpt-5.2", "a: b", "x # y", "é/1", "1e5", "null"]),
    params=PARAMS,
    retires=st.sampled_from([None, "2027-05-01"]),
    limits=st.sampled_from([None, {"rpm": 500}, {"rpm": 500, "tpm": 200_000}]),
    crlf=st.booleans(),
)
def test_only_the_named_values_change_whatever_the_style(current, down, model, params, retires, limits, crlf):
    head, _, rest = EXAMPLE.partition("current:")
    text = re.sub(r"down_revision: .*\n", down, head) + current + rest[rest.index("target:") :]
    if crlf:
        text = text.replace("\n", "\r\n")
    before = load_text(text, "before.yaml")
    wanted = Endpoint(model=model, params=params, retires=retires, limits=limits)
    after = follow(text, "1234", wanted)
    try:
        migration = load_text(after, "after.yaml").migration
    except ValueError:
        pytest.fail(after)
    assert migration == before.migration.model_copy(update={"down_revision": "1234", "current": wanted})
    assert after[after.index("target:") :] == text[text.index("target:") :]
    for comment in ("# what serves now", "# a word", "# its name", "# all", "# below", "# ünïcödé", "# none", "# flow"):
        assert (comment in after) == (comment in text)
    assert after.count("\n") - after.count("\r\n") == (0 if crlf else after.count("\n"))


@pytest.mark.skipif(shutil.which("git") is None, reason="git is absent")
def test_git_stops_two_branches_that_both_add_to_a_route(world):
    """The documents have different names: without the head file git would merge them in silence."""

    def git(*arguments, code=0):
        who = ["-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "init.defaultBranch=main"]
        done = subprocess.run(["git", *who, *arguments], cwd=world.folder, capture_output=True, text=True, check=False)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout

    branch(world, [], "fake/new", revision="base1")
    git("init")
    git("add", "migrations")
    git("commit", "-m", "base")
    for name, target, revision in [("one", "fake/first", "head1"), ("two", "fake/second", "head2")]:
        git("checkout", "-b", name, "main")
        branch(world, ["base1"], target, revision=revision)
        git("add", "migrations")
        git("commit", "-m", name)
    assert f"migrations/heads/{ROUTE}" in git("merge", "one", code=1)
    [fault] = head_file_faults(world.graph(), world.config.heads)
    assert "in conflict" in fault.message
    rebase(world.config, world.graph(), "head2", {"base1"})
    assert (world.graph().faults, head_file_faults(world.graph(), world.config.heads)) == ([], [])
    git("add", "migrations")
    git("commit", "-m", "merged")
