"""A receiver with FastAPI and the official library: pip install fastapi uvicorn standardwebhooks

RUNWATCH_WEBHOOK_SECRET=whsec_... uvicorn python_fastapi:app --port 8788
"""

import os

from fastapi import BackgroundTasks, FastAPI, Request, Response
from standardwebhooks import Webhook, WebhookVerificationError

app = FastAPI()
webhooks = [Webhook(secret) for secret in os.environ.get("RUNWATCH_WEBHOOK_SECRET", "").split()]
# Keep these where they survive a restart if a repeat would do harm.
handled: dict[str, None] = {}


def verified(body: bytes, headers: dict[str, str]) -> dict | None:
    """The event of a request; None where no secret signed it."""
    for webhook in webhooks:
        try:
            return webhook.verify(body, headers)
        except WebhookVerificationError:
            # Another secret may have signed it.
            continue
    return None


def handle(event: dict) -> None:
    print(event["type"], event["data"].get("run_id", ""), flush=True)


@app.post("/", status_code=204)
async def receive(request: Request, background: BackgroundTasks) -> Response:
    # The signature is that of the bytes: they must not be parsed and written again.
    event = verified(await request.body(), dict(request.headers))
    if event is None:
        return Response(status_code=401)
    if event["id"] not in handled:
        handled[event["id"]] = None
        if len(handled) > 10_000:
            handled.pop(next(iter(handled)))
        # Runs after the answer.
        background.add_task(handle, event)
    return Response(status_code=204, background=background)
