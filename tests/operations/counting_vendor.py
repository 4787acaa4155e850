"""A vendor on a real socket that counts what it is paid for, and a buyer process that can be killed at any point."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from limner.money import payments as money
from limner.money.payments import Purchase, Receipt, announce
from limner.operations.home.workspace import Workspace
from limner.operations.payments import intents
from limner.operations.payments.purchases import StoredPayments
from limner.settings import Settings
from tests.waiting import PATIENCE

POINTS = (
    "before the claim",
    "in the claim",
    "after the claim",
    "waiting for a turn",
    "going out",
    "before the call",
    "after the call",
    "in the record",
    "after the record",
)
"""Where the buyer can be killed, in the order of a purchase."""


class Vendor:
    """What the server holds: the tags that it was paid for, in order."""

    def __init__(self) -> None:
        self.paid: list[str] = []
        self.url = ""
        self.pause = 0.0


@contextmanager
def vendor() -> Iterator[Vendor]:
    """Serve on a free port: POST /jobs buys, GET /jobs lists."""
    shop = Vendor()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            shop.paid.append(body["tag"])
            time.sleep(shop.pause)
            self.answer({"id": f"job-{len(shop.paid)}"})

        def do_GET(self) -> None:
            self.answer([{"id": f"job-{number}", "tag": tag} for number, tag in enumerate(shop.paid, 1)])

        def answer(self, value: Any) -> None:
            data = json.dumps(value).encode()
            self.send_response(200)
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    shop.url = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield shop
    finally:
        server.shutdown()
        server.server_close()


def call(url: str, body: Any = None) -> Any:
    """One request to the vendor."""
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(urllib.request.Request(f"{url}/jobs", data=data), timeout=PATIENCE) as answer:
        return json.loads(answer.read())


def buy(  # noqa: C901 - one function, so that each point of death is seen in its place
    home: Path, url: str, *, tag: str, die: str, listed: bool, announced: bool, settle: bool
) -> Receipt:
    """Buy once, as a stage does; killed at the point ``die``."""

    def point(name: str) -> None:
        if name == die:
            os.kill(os.getpid(), signal.SIGKILL)

    def patched(name: str, where: str) -> None:
        real = getattr(intents, name)

        def done(*words: Any, **options: Any) -> Any:
            found = real(*words, **options)
            words[0].flush()
            point(where)  # written, and not committed
            return found

        setattr(intents, name, done)

    async def send() -> Receipt:
        point("after the claim")
        await asyncio.sleep(0)
        point("waiting for a turn")
        await announce()
        point("going out")
        point("before the call")
        answer = await asyncio.to_thread(call, url, {"tag": tag})
        point("after the call")
        return Receipt(answer["id"], answer=answer, cost=Decimal("0.02"))

    async def find() -> Receipt | None:
        for entry in await asyncio.to_thread(call, url):
            if entry["tag"] == tag:
                return Receipt(entry["id"], answer=entry)
        return None

    patched("claim", "in the claim")
    patched("keep_answer", "in the record")
    money.LOOKS = (0.0, 0.0)
    workspace = Workspace(Settings(home=home))
    purchase = Purchase(tag, "shop", "picture", "shop/model", Decimal("0.02"), {"tag": tag}, announced=announced)
    payments = StoredPayments(workspace, "job_1", "rex")

    async def whole() -> Receipt:
        point("before the claim")
        receipt = await payments.once(purchase, send=send, find=find if listed else None, settle=settle)
        point("after the record")
        if not settle:
            await payments.settle(tag)
        return receipt

    return asyncio.run(whole())


if __name__ == "__main__":
    options = json.loads(sys.argv[1])
    found = buy(Path(options.pop("home")), options.pop("url"), **options)
    print(found.reference, flush=True)
