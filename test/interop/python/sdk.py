"""Every method of noxus-sdk that touches runs, against the simulator."""

import asyncio
import os
import sys
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, HTTPServer

from cases import case, play
from noxus_sdk.client import Client
from noxus_sdk.errors import NotFoundError, UnauthorizedError, ValidationError
from noxus_sdk.resources.runs import RunFailureError

client = Client.from_env()
flows = {flow.name: flow for flow in client.workflows.list(page_size=100)}


def start(story, body=None, **options):
    return flows[story].run(body or {}, **options)


def ended(story="jumps_to_completed"):
    run = start(story)
    run.wait()
    return run


@case("Client(api_key=…) loads nodes and key")
def _():
    assert {"InputNode", "OutputNode"} <= {node["type"] for node in client.get_nodes()}
    assert client.admin.get_me().name


@case("a wrong key is UnauthorizedError with the request id")
def _():
    try:
        Client("wrong", os.environ["NOXUS_BACKEND_URL"])
    except UnauthorizedError as error:
        assert error.request_id, error
        return
    raise AssertionError("a wrong key was taken")


@case("workflows.get gives nodes and edges")
def _():
    flow = client.workflows.get(flows["fails"].id)
    assert flow.name == "fails" and len(flow.nodes) == 5 and len(flow.edges) == 4


@case("run and wait: completed, with its output")
def _():
    run = start("completes", {"invoice": 4711})
    assert run.status == "queued"
    done = run.wait()
    assert done.status == "completed" and done.progress == 100
    assert done.output["input"] == {"invoice": 4711}
    assert done.progress_details["remaining_nodes"] == []


@case("wait(output_only=True) gives the output")
def _():
    assert start("jumps_to_completed", {"a": 1}).wait(output_only=True)["input"] == {"a": 1}


@case("wait raises RunFailureError for a failed run")
def _():
    run = start("fails")
    try:
        run.wait()
    except RunFailureError:
        assert run.status == "failed"
        return
    raise AssertionError(f"{run.status}, and nothing was raised")


@case("wait returns for a run that is stopped")
def _():
    assert start("stops").wait().status == "stopped"


@case("wait returns at once for a run that waits for a human")
def _():
    run = start("waits_forever")
    for event in run.stream():
        if event.data.get("status") == "awaiting_human_feedback":
            break
    assert run.refresh().status == "awaiting_human_feedback"
    assert run.wait().status == "awaiting_human_feedback"
    assert run.stop().status == "stopped"


@case("a run plays the story that its input names")
def _():
    assert start("completes", {"story": "stops"}).wait().status == "stopped"


@case("stream: nodes in content, the run in state, workflow_status in the last event only")
def _():
    events = list(start("jumps_to_completed").stream())
    assert [event.is_terminal for event in events].index(True) == len(events) - 1
    assert events[-1].type == "content" and events[-1].data["status"] == "completed"
    states = [event for event in events if event.type == "state"]
    assert states[0].data["status"] == "queued" and states[-1].data["status"] == "completed"
    assert "executed_nodes" in states[0].data["progress_details"]


@case("stream(etag=…) resumes after that event")
def _():
    run = start("jumps_to_completed")
    whole = [event.redis_id for event in run.stream(etag="0-0")]
    rest = [event.redis_id for event in run.stream(etag=whole[0])]
    assert rest == whole[1:], (whole, rest)


@case("run_and_stream")
def _():
    assert list(flows["jumps_to_completed"].run_and_stream({}))[-1].is_terminal


@case("get and refresh read the same run")
def _():
    run = start("never_finishes")
    assert client.runs.get(run.workflow_id, run.id).id == run.id
    assert run.refresh().get_status() in ("queued", "running")
    run.stop()


@case("get of a run that there is not is NotFoundError with the request id")
def _():
    try:
        client.runs.get(flows["fails"].id, "5b0f2f5e-8c1f-4a53-9a39-0f6f0a3f7f11")
    except NotFoundError as error:
        assert error.request_id and error.body == {"detail": "Run not found"}
        return
    raise AssertionError("nothing was raised")


@case("a start that is not valid is ValidationError in FastAPI's words")
def _():
    try:
        client.post(f"/v1/workflows/{flows['fails'].id}/runs", {"input": "text"})
    except ValidationError as error:
        assert error.body["detail"][0]["loc"] == ["body", "input"]
        return
    raise AssertionError("nothing was raised")


@case("stop, by run and by id")
def _():
    assert start("never_finishes").stop().status == "stopped"
    assert client.runs.stop(start("never_finishes").id).status == "stopped"


@case("run_sync gives the run or its output")
def _():
    flow = flows["jumps_to_completed"].id
    assert client.runs.run_sync(flow, {"a": 1})["status"] == "completed"
    assert client.runs.run_sync(flow, {"a": 1}, output_only=True)["input"] == {"a": 1}


@case("list gives pages")
def _():
    run = start("never_finishes")
    assert client.runs.list(run.workflow_id, page=1, page_size=1)[0].id == run.id
    assert client.runs.list(run.workflow_id, page=1_000) == []
    run.stop()


@case("search, data and node IO")
def _():
    run = ended()
    assert [found["id"] for found in client.runs.search(run.id)] == [run.id]
    assert run.data()["run_id"] == client.runs.get_data(run.id)["run_id"] == run.id
    assert client.runs.get_node_io(run.id, "node-1")["node_id"] == "node-1"


@case("delete: one that ended, not one in flight")
def _():
    assert ended().delete().succeeded == 1
    live = start("never_finishes")
    deletion = client.runs.delete(live.id)
    assert deletion.succeeded == 0 and live.id in deletion.errors
    live.stop()


@case("bulk_delete by ids, by age, and as a dry run")
def _():
    run = ended()
    later = datetime.now(timezone.utc) + timedelta(minutes=1)
    found = client.runs.bulk_delete(older_than=later, workflow_id=run.workflow_id, dry_run=True)
    assert found.matched >= 1 and found.succeeded == 0
    assert client.runs.bulk_delete(run_ids=[run.id]).succeeded == 1


@case("callback_url is called when the run ends")
def _():
    bodies = []

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self):
            bodies.append(self.rfile.read(int(self.headers["content-length"])))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Receiver)
    server.timeout = 30
    url = f"http://127.0.0.1:{server.server_port}/"
    run = start("jumps_to_completed", callback_url=url)
    server.handle_request()
    server.server_close()
    assert bodies and run.id.encode() in bodies[0], bodies


@case("the asynchronous methods")
def _():
    async def all_of_them():
        flow = flows["jumps_to_completed"]
        run = await flow.arun({"a": 1})
        assert (await run.a_wait()).status == "completed"
        await run.arefresh()
        assert (await client.runs.aget(run.workflow_id, run.id)).id == run.id
        assert run.id in [one.id for one in await client.runs.alist(run.workflow_id)]
        assert (await client.runs.asearch(run.id))[0]["id"] == run.id
        assert (await run.adata())["run_id"] == (await client.runs.aget_data(run.id))["run_id"]
        assert (await client.runs.aget_node_io(run.id, "node-1"))["node_id"] == "node-1"
        assert (await client.runs.arun_sync(flow.id, {}))["status"] == "completed"
        events = [event async for event in flow.arun_and_stream({})]
        assert events[-1].is_terminal
        live = await flows["never_finishes"].arun({})
        assert (await live.astop()).status == "stopped"
        assert (await client.runs.astop(live.id)).status == "stopped"
        assert (await client.runs.abulk_delete(run_ids=[live.id])).succeeded == 1
        assert (await run.adelete()).succeeded == 1
        await client.aclose()

    asyncio.run(all_of_them())


@case("the six lines of `runwatch simulate --help`")
def _():
    text = os.environ["SIMULATE_HELP"].split("With the SDK")[1]
    lines = [line.strip() for line in text.splitlines()[1:] if line.strip()]
    assert len(lines) == 6, lines
    code = "\n".join(lines).replace("http://127.0.0.1:8789", os.environ["NOXUS_BACKEND_URL"])
    said = []
    exec(code, {"print": lambda *words: said.append(words)})
    assert said[-1] == ("completed",), said


sys.exit(play())
