"""Whatever a document is made of, the answer is exit 6 with one clear message a problem, and nothing happens."""

from __future__ import annotations

import random
import re
from itertools import islice, pairwise

import pytest
import yaml

from llmmigrate.cli import main as entry
from llmmigrate.scaffold import init

REVISION = "c0ffee000001"


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """Return the text of a document with every key, as the production template writes it."""
    from datetime import UTC, datetime

    from llmmigrate import scaffold, settings
    from llmmigrate.graph import Graph

    folder = tmp_path_factory.mktemp("base")
    init(folder)
    made = scaffold.new(
        settings.load(folder / "llmmigrate.toml", environ={}),
        Graph([]),
        message="Move it",
        route="support",
        current="fake/old",
        target="fake/new",
        driver="t@example.com",
        now=datetime(2026, 11, 2, tzinfo=UTC),
        template="production",
        revision=REVISION,
    )
    return made.file.read_text("utf-8")


@pytest.fixture
def check(tmp_path, capsys):
    """Return a function that puts files in a project and runs a command on it, in this process."""
    init(tmp_path)
    suite = "cases: [{id: a, input: hello}]\n"
    for beside, content in (("regression/support.yaml", suite), ("rubrics/support.md", "")):
        (tmp_path / beside).parent.mkdir(exist_ok=True)
        (tmp_path / beside).write_text(content)
    versions = tmp_path / "migrations" / "versions"

    def run(files, *command):
        for old in versions.glob("*.yaml"):
            old.unlink()
        for name, content in files.items():
            (versions / name).write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
        before = sorted(tmp_path.rglob("*"))
        with pytest.raises(SystemExit) as ended:
            entry(["-c", str(tmp_path / "llmmigrate.toml"), *(command or ("check",))])
        out, err = capsys.readouterr()
        assert sorted(tmp_path.rglob("*")) == before, "something was written"
        assert "Traceback" not in out + err
        return ended.value.code, out + err

    return run


def paths(data, path=()):
    """Yield every place of a document."""
    yield path
    items = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for key, value in items:
        yield from paths(value, (*path, key))


def put(data, path, value):
    for key in path[:-1]:
        data = data[key]
    data[path[-1]] = value


def taken(data, path):
    for key in path:
        data = data[key]
    return data


def wrong_types(data, rng):
    """Yield documents in which one value is of a kind that cannot stand there."""
    places = [path for path in paths(data) if path and "params" not in path]
    places = [path for path in places if path[0] != "success_criteria" or len(path) != 2]  # a sentence is one, too
    while True:
        path = rng.choice(places)
        old = taken(data, path)
        new = {
            dict: [1, "text", 3.5, True],
            list: [{"a": 1}, "text", 7, True],
        }.get(type(old), [{"a": {"b": 1}}, [["x"]]])
        copy = yaml.safe_load(yaml.safe_dump(data))
        put(copy, path, rng.choice(new))
        yield copy


def unknown_keys(data, rng):
    places = [p for p in paths(data) if isinstance(taken(data, p), dict) and "params" not in p and "approvers" not in p]
    free = {("monitoring", "sources"), ("monitoring", "projection"), ("requires",)}
    places = [path for path in places if path not in free and path[-1:] not in (("include",), ("exclude",))]
    while True:
        copy = yaml.safe_load(yaml.safe_dump(data))
        taken(copy, rng.choice(places))[f"x{rng.randrange(1000)}"] = rng.choice([1, "x", None, {}])
        yield copy


def missing_units(data, rng):
    places = [p for p in paths(data) if re.fullmatch(r"\$?\d+(%|pp|ms|h|d|\.\.\d+h|/day)?\S*", str(taken(data, p)))]
    places = [path for path in places if isinstance(taken(data, path), str) and path[-1] != "revision"]
    while True:
        path = rng.choice(places)
        copy = yaml.safe_load(yaml.safe_dump(data))
        put(copy, path, rng.choice([re.sub(r"\D", "", taken(data, path)) or 5, 5, -1, "5 bananas", "", "5%%"]))
        yield copy


REQUIRED = ("revision", "route", "message", "created", "current", "target", "owners", "regression", "rollback")


def missing_keys(data, rng):
    while True:
        copy = yaml.safe_load(yaml.safe_dump(data))
        del copy[rng.choice(REQUIRED)]
        yield copy


def test_the_document_itself_is_fit(base, check):
    assert check({"a.yaml": base})[0] == 0


@pytest.mark.parametrize("kind", [wrong_types, unknown_keys, missing_units, missing_keys])
def test_no_broken_document_passes(kind, base, check):
    data = yaml.safe_load(base)
    data["created"] = "2026-11-02T00:00:00Z"
    for number, broken in enumerate(islice(kind(data, random.Random(7)), 110)):
        code, text = check({"a.yaml": yaml.safe_dump(broken, sort_keys=False)})
        assert code == 6, (number, broken, text)
        assert re.search(r"a\.yaml:\d+:\d+: ", text), text


def test_damaged_text_is_told_or_means_the_same(base, check):
    rng = random.Random(11)
    for _ in range(90):
        text = list(base)
        for _ in range(rng.randrange(1, 4)):
            at = rng.randrange(len(text))
            text[at : at + rng.randrange(3)] = rng.choice(
                ["", "\t", ":", "{", "}", "[", "'", '"', "&a ", "*a", "!!x ", "\n", "- "]
            )
        code, out = check({"a.yaml": "".join(text)})
        assert code in (0, 6), out
        assert code == 0 or re.search(r"a\.yaml:\d+:\d+: |migrations/versions", out)


LAUGHS = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]\n" for old, new in pairwise("abcdefghi")
)

HOSTILE = {
    "a binary file": bytes(range(256)) * 40,
    "zeros": b"\0" * 1000,
    "UTF-16": "revision: x".encode("utf-16"),
    "ten megabytes": b"a: " + b"x" * 10_000_000,
    "billion laughs": LAUGHS,
    "a python tag": "!!python/object/apply:os.system ['touch PWNED']\n",
    "a python tag inside": f"revision: {REVISION}\nroute: !!python/object/new:os.system ['touch PWNED']\n",
    "nothing": b"",
    "a list": "- 1\n- 2\n",
    "two documents": "a: 1\n---\nb: 2\n",
    "deep nesting": "[" * 50_000,
    "deep mappings": "".join(f"{' ' * n}a:\n" for n in range(1000)),
    "a merge key": "<<: {a: 1}\n",
    "not a number": "revision: .nan\n",
    "a lone surrogate": b"revision: \xed\xa0\x80",
    "a directive": "%YAML 9.9\n---\na: 1\n",
}


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("command", ["check", "upgrade", "status"])
def test_a_hostile_file_is_refused_in_one_message_and_runs_nothing(name, command, check, tmp_path):
    code, text = check({"a.yaml": HOSTILE[name]}, command)
    assert code == 6, text
    assert len(text) < 3000
    assert not (tmp_path / "PWNED").exists()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (f"revision: {REVISION}", "revision: ../../../etc/passwd"),
        (f"revision: {REVISION}", "revision: a/b"),
        (f"revision: {REVISION}", "revision: abc\x07def"),
        ("route: support", "route: ../support"),
        ("route: support", "route: /etc/passwd"),
        ("suite: regression/support.yaml", "suite: ../../outside.yaml"),
        ("suite: regression/support.yaml", "suite: /etc/passwd"),
        ("suite: regression/support.yaml", "suite: C:\\x"),
        ("suite: regression/support.yaml", "suite: ~/x"),
        ("rubric: rubrics/support.md", "rubric: a/../../x"),
        ("notify: [env:SLACK_URL, env:PAGERDUTY_URL]", "notify: ['https://hooks.slack.com/services/T0/B0/x']"),
        ("notify: [env:SLACK_URL, env:PAGERDUTY_URL]", "notify: ['env:A B']"),
        ("params: {}", "params: {api_key: abc}"),
        ("params: {}", "params: {header: sk-abcdefghijklmnopqrstuvwx}"),
        ("params: {}", "params: {x: 'https://me:secret@host/'}"),
    ],
)
def test_tricks_with_names_and_secrets_are_refused_at_their_place(old, new, base, check):
    assert old in base
    code, text = check({"a.yaml": base.replace(old, new, 1)})
    assert code == 6, text
    assert re.search(r"a\.yaml:\d+:\d+: ", text), text


def test_a_secret_is_never_repeated(base, check):
    secret = "sk-abcdefghijklmnopqrstuvwx"
    for command in ("check", "upgrade", "status"):
        code, text = check({"a.yaml": base.replace("params: {}", f"params: {{key: {secret}}}", 1)}, command)
        assert (code, secret in text) == (6, False)


def test_faults_of_the_line_are_told(base, check):
    def named(revision, down="null", current="fake/old", target="fake/new"):
        text = base.replace(REVISION, revision).replace("down_revision: null", f"down_revision: {down}")
        return text.replace('"fake/old"', current).replace('"fake/new"', target)

    one = named("aaaa0001")
    cases = {
        "two heads": {"a.yaml": one, "b.yaml": named("aaaa0002")},
        "duplicate": {"a.yaml": one, "b.yaml": one},
        "missing parent": {"a.yaml": named("aaaa0001", "bbbb0001")},
        "cycle": {
            "a.yaml": named("aaaa0001", "aaaa0002", "x/b", "x/a"),
            "b.yaml": named("aaaa0002", "aaaa0001", "x/a", "x/b"),
        },
        "broken chain": {"a.yaml": one, "b.yaml": named("aaaa0002", "aaaa0001", "x/other", "x/b")},
    }
    for name, files in cases.items():
        for command in ("check", "upgrade"):
            code, text = check(files, command)
            assert code == 6, (name, command, text)
            assert "hint" in text or "error" in text
