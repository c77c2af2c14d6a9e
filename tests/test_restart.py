"""A PostgreSQL server that is restarted, or gone, in the middle of a tick."""

from __future__ import annotations

import pytest
from sqlalchemy import event

from llmmigrate.exceptions import StoreUnavailable
from llmmigrate.runner import upgrade
from llmmigrate.store import Store
from tests.conftest import ROUTE, postgres_server
from tests.invariants import broken


@pytest.fixture
def server():
    with postgres_server() as server:
        yield server


@pytest.mark.parametrize("point", [1, 4, 8, 12])
def test_a_restart_in_mid_tick_is_survived(world, server, point):
    world.write()
    graph = world.graph()
    store = Store.open(server.url, create=True)
    left = [point]

    def restart(*_args, **_options):
        left[0] -= 1
        if left[0] == 0:
            server.start()

    event.listen(store._control, "before_cursor_execute", restart)
    head = graph.resolve(ROUTE).revision
    result = upgrade(store, graph, ROUTE, head, actor="t", sleep=lambda _: None)
    assert left[0] <= 0
    assert result.last.state.phase == "shadow"
    assert [row["event"] for row in store.history(ROUTE)] == ["started", "advanced"]
    assert broken(store) == []
    store.close()


def test_a_server_that_stays_away_is_one_clear_error(world, server):
    world.write()
    graph = world.graph()
    store = Store.open(server.url, create=True)
    head = graph.resolve(ROUTE).revision
    upgrade(store, graph, ROUTE, head, actor="t")
    server.stop()
    pauses = []
    with pytest.raises(StoreUnavailable, match="the store cannot be"):
        upgrade(store, graph, ROUTE, head, actor="t", sleep=pauses.append)
    assert pauses == [0.5, 1.0, 2.0, 4.0]
    with pytest.raises(StoreUnavailable, match="cannot be reached"):
        Store.open(server.url)
    store.close()
