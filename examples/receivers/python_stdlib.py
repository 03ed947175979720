"""A receiver in Python without packages: verifies, drops repeats, answers before it works.

RUNWATCH_WEBHOOK_SECRET=whsec_... python3 python_stdlib.py
"""

import base64
import hashlib
import hmac
import json
import os
import queue
import threading
import time
from collections import OrderedDict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SECRETS = os.environ.get("RUNWATCH_WEBHOOK_SECRET", "").split()
MAX_AGE_S = 300
MAX_BODY = 1 << 20

work: "queue.Queue[dict]" = queue.Queue(maxsize=10_000)
# Keep these where they survive a restart if a repeat would do harm.
handled: "OrderedDict[str, None]" = OrderedDict()


def is_authentic(headers, body: bytes) -> bool:
    """Source: Standard Webhooks, "Verifying webhook authenticity"."""
    event_id, timestamp = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    if not timestamp.isdigit() or abs(time.time() - int(timestamp)) > MAX_AGE_S:
        return False
    given = headers.get("webhook-signature", "").split()
    for secret in SECRETS:
        key = base64.b64decode(secret.removeprefix("whsec_"))
        signed = hmac.new(key, f"{event_id}.{timestamp}.".encode() + body, hashlib.sha256).digest()
        expected = "v1," + base64.b64encode(signed).decode()
        if any(hmac.compare_digest(one, expected) for one in given):
            return True
    return False


def handle(event: dict) -> None:
    print(event["type"], event["data"].get("run_id", ""), flush=True)


def worker() -> None:
    while True:
        event = work.get()
        if event["id"] in handled:
            continue
        handled[event["id"]] = None
        if len(handled) > 10_000:
            handled.popitem(last=False)
        handle(event)


class Receiver(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        length = int(self.headers.get("content-length", 0))
        if length > MAX_BODY:
            return self.answer(413)
        body = self.rfile.read(length)
        if not is_authentic(self.headers, body):
            return self.answer(401)
        try:
            work.put_nowait(json.loads(body))
        except queue.Full:
            # runwatch tries again.
            return self.answer(503)
        self.answer(204)

    def answer(self, status: int) -> None:
        self.send_response(status)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


if __name__ == "__main__":
    threading.Thread(target=worker, daemon=True).start()
    server = ThreadingHTTPServer(("127.0.0.1", int(os.environ.get("PORT", "8788"))), Receiver)
    print(f"http://127.0.0.1:{server.server_port}/", flush=True)
    server.serve_forever()
