"""The state of routes in the forms that machines read: Prometheus text, GitHub annotations, JUnit XML."""

from __future__ import annotations

from collections.abc import Sequence

from prometheus_client import CollectorRegistry, Gauge, generate_latest

from llmmigrate.annotations import Case, workflow_command
from llmmigrate.annotations import junit as junit_report
from llmmigrate.overview import RouteOverview

STATUSES = ("pending", "running", "paused", "rolling_back", "rolled_back", "completed")
VERDICTS = ("pass", "hold", "fail")


def prometheus(routes: Sequence[RouteOverview]) -> str:
    """Write gauges, one set a route: state, share, generation, and each rule's verdict with its figures.

    Routes and rules come from reviewed documents, so that their number is small.
    """
    registry = CollectorRegistry()

    def gauge(name: str, words: str, *labels: str) -> Gauge:
        return Gauge(f"llmmigrate_{name}", words, labels, registry=registry)

    healthy = gauge("healthy", "1 where no person is needed", "route")
    status = gauge("status", "1 for the status that a route is in", "route", "revision", "status")
    share = gauge("candidate_share", "Share of units that the candidate serves now", "route", "revision")
    generation = gauge("generation", "The routing in force, a number that only grows", "route")
    phase = gauge("phase_info", "1 for the phase that a route is in", "route", "revision", "phase")
    since = gauge("since_timestamp_seconds", "When the route came into its state", "route")
    rule = ("route", "rule", "metric")
    verdict = gauge("verdict", "1 for the verdict that a rule came to", *rule, "verdict")
    estimate = gauge("metric_estimate", "What a rule estimates, in the metric's unit", *rule)
    low = gauge("metric_low", "Lower end of the anytime-valid range", *rule)
    high = gauge("metric_high", "Upper end of the anytime-valid range", *rule)
    limit = gauge("metric_limit", "What the rule allows", *rule)
    for route in routes:
        name, revision = route.state.route, route.state.revision or route.head or ""
        healthy.labels(name).set(route.healthy)
        for one in STATUSES:
            status.labels(name, revision, one).set(route.state.status == one)
        share.labels(name, revision).set(route.served_share)
        generation.labels(name).set(route.state.generation)
        if route.state.phase is not None:
            phase.labels(name, revision, route.state.phase).set(1)
        if route.state.since is not None:
            since.labels(name).set(route.state.since.timestamp())
        for metric in route.metrics:
            labels = (name, metric["rule"], metric["metric"])
            for one in VERDICTS:
                verdict.labels(*labels, one).set(metric["verdict"] == one)
            limit.labels(*labels).set(metric["limit"])
            if metric["estimate"] is not None:
                estimate.labels(*labels).set(metric["estimate"])
            if metric["interval"] is not None:
                low.labels(*labels).set(metric["interval"][0])
                high.labels(*labels).set(metric["interval"][1])
    return generate_latest(registry).decode("utf-8")


def github(routes: Sequence[RouteOverview]) -> str:
    """Write one annotation a route: an error where a person is needed."""
    return "\n".join(
        workflow_command("notice" if route.healthy else "error", words(route), title=f"llmmigrate {route.state.route}")
        for route in routes
    )


def junit(routes: Sequence[RouteOverview]) -> str:
    """Write one test case a route, failed where a person is needed."""
    return junit_report(
        "llmmigrate status",
        [
            Case(route.state.route, output=[words(route)]) if route.healthy else Case(route.state.route, [words(route)])
            for route in routes
        ],
    )


def words(route: RouteOverview) -> str:
    """Say in a sentence where a route stands, and why."""
    state = route.state
    where = f" at {state.phase}" if state.phase is not None and state.active else ""
    text = f"{state.revision or route.head or 'no document'} is {state.status.replace('_', ' ')}{where}"
    if route.unfit is not None:
        return f"{text}: {route.unfit}"
    if route.forsaken:
        return f"{text}: nobody is watching, so routers serve control"
    if route.last_reason is not None:
        return f"{text}: {route.last_reason}"
    if route.waiting_for:
        return f"{text}, waiting: {route.waiting_for[0]['detail']}"
    return text
