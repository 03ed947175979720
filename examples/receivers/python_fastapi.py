"""A receiver with FastAPI and the official library: pip install fastapi uvicorn standardwebhooks

RUNWATCH_WEBHOOK_SECRET=whsec_... uvicorn python_fastapi:app --port 8788
"""

import os

from fastapi import BackgroundTasks, FastAPI, Request, Response
from standardwebhooks import Webhook, WebhookVerificationError

app = FastAPI()
webhook = Webhook(os.environ["RUNWATCH_WEBHOOK_SECRET"])
# Keep these where they survive a restart if a repeat would do harm.
handled: dict[str, None] = {}


def handle(event: dict) -> None:
    print(event["type"], event["data"].get("run_id", ""))


@app.post("/", status_code=204)
async def receive(request: Request, background: BackgroundTasks) -> Response:
    # The signature is that of the bytes: they must not be parsed and written again.
    body = await request.body()
    try:
        event = webhook.verify(body, dict(request.headers))
    except WebhookVerificationError:
        return Response(status_code=401)
    if event["id"] not in handled:
        handled[event["id"]] = None
        if len(handled) > 10_000:
            handled.pop(next(iter(handled)))
        # Runs after the answer.
        background.add_task(handle, event)
    return Response(status_code=204, background=background)
