"""A client that openapi-python-client generated: it registers, waits and lists."""

import os
import sys
import time

from cases import case, play
from runwatch_client import AuthenticatedClient
from runwatch_client.api.deliveries import list_deliveries
from runwatch_client.api.endpoints import list_endpoints
from runwatch_client.api.events import list_events
from runwatch_client.api.watches import get_watch, list_watches, register_watch, unwatch
from runwatch_client.models import (
    EndpointSubscription,
    EventTypePattern,
    Problem,
    RegisteredWatch,
    RunFailedEvent,
    WatchRequest,
    WatchRequestMetadata,
    WatchState,
)

client = AuthenticatedClient(
    base_url=os.environ["API_URL"], token=os.environ["API_TOKEN"], raise_on_unexpected_status=True
)
run_id = os.environ["RUN_ID"]


@case("registers a run")
def _():
    metadata = WatchRequestMetadata.from_dict({"order": "4711"})
    body = WatchRequest(run_id=run_id, endpoints=["ops"], metadata=metadata, timeout="2h")
    answer = register_watch.sync_detailed(client=client, body=body)
    assert answer.status_code == 201 and "location" in answer.headers
    assert isinstance(answer.parsed, RegisteredWatch), answer.parsed
    [subscription] = answer.parsed.subscriptions
    assert isinstance(subscription, EndpointSubscription) and subscription.endpoint == "ops"


@case("waits for its end")
def _():
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        watch = get_watch.sync(run_id, client=client)
        if watch.state == WatchState.FINISHED:
            assert watch.run.status == "failed" and watch.run.progress == 40
            return
        time.sleep(0.1)
    raise AssertionError(f"still {watch.state}")


@case("lists watches by two states")
def _():
    states = [WatchState.FINISHED, WatchState.ACTIVE]
    page = list_watches.sync(client=client, state=states, limit=200)
    assert run_id in [watch.run_id for watch in page.data]


@case("lists events as what they are")
def _():
    page = list_events.sync(client=client, run_id=run_id, type_=[EventTypePattern.RUN_FAILED])
    [event] = page.data
    assert isinstance(event, RunFailedEvent), type(event)
    assert event.data.run_id == run_id and isinstance(event.data.detection_delay_ms, int)


@case("lists deliveries and endpoints")
def _():
    page = list_deliveries.sync(client=client, run_id=run_id)
    assert [delivery.endpoint for delivery in page.data] == ["ops"]
    [endpoint] = [one for one in list_endpoints.sync(client=client).data if one.name == "ops"]
    assert endpoint.counts.delivered + endpoint.counts.pending >= 1


@case("reads refusals as problems")
def _():
    answer = unwatch.sync("never-watched", client=client)
    assert isinstance(answer, Problem) and answer.status == 404, answer


sys.exit(play())
