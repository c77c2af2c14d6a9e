"""Routers hear of a new routing at once where PostgreSQL tells them, and notice a server that falls silent."""

from __future__ import annotations

import socket

import pytest
from sqlalchemy import text

from llmmigrate.exceptions import StoreUnavailable
from llmmigrate.runner import ask, downgrade
from llmmigrate.store import Store, engine
from tests.conftest import ROUTE


@pytest.mark.parametrize("backend", ["postgresql"])
def test_who_listens_hears_of_a_new_routing_and_of_nothing_else(world):
    world.write()
    with world.store.changes() as changes:
        assert not changes.wait(0.05)
        world.upgrade()
        assert changes.wait(60)
        while changes.wait(0.05):
            continue
        ask.pause(world.store, ROUTE, actor="t", reason="x")
        assert not changes.wait(0.05), "the routing is as it was"
        downgrade(world.store, ROUTE, actor="t", reason="x", confirm_s=0)
        assert changes.wait(60)


@pytest.mark.parametrize("backend", ["postgresql"])
def test_a_listener_whose_server_session_was_ended_listens_again(world):
    world.write()
    with world.store.changes() as changes:
        changes.wait(0.05)
        with world.store._writing() as connection:
            connection.execute(
                text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%'")
            )
        assert not changes.wait(0.05)
        assert not changes.wait(0.05)
        world.upgrade()
        assert changes.wait(60)


def test_on_sqlite_there_is_only_the_clock(world):
    assert world.store.changes() is None


def test_a_server_that_takes_a_connection_and_says_nothing_is_one_clear_error(monkeypatch):
    pytest.importorskip("psycopg", reason="pip install 'llmmigrate[postgres]'")
    monkeypatch.setitem(engine._PATIENCE, "connect_timeout", 2)
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"postgresql+psycopg://u@127.0.0.1:{server.getsockname()[1]}/d"
        with pytest.raises(StoreUnavailable, match="cannot be reached"):
            Store.open(url)
