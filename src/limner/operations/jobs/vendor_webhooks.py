"""Hearing from vendors: while the worker runs, their webhooks wake the jobs that wait for them."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from limner.operations.jobs import wakeups
from limner.settings import Settings

__all__ = ["listening"]

log = logging.getLogger(__name__)


@contextmanager
def listening(settings: Settings) -> Iterator[None]:
    """Take webhooks at ``settings.webhook_port`` of the loopback address until the block ends.

    Whoever set ``public_url`` leads it there, by a tunnel or a reverse proxy. Without one nobody listens; where the
    port is taken nobody listens either, and vendors are polled as ever.
    """
    if not settings.public_url:
        yield
        return
    from uvicorn import Config, Server

    from limner.http_server.connections import BACKLOG, Limits, bounded_by
    from limner.operations.jobs.vendor_webhook_app import webhook_app
    from limner.vendors.replicate.client import ReplicateClient
    from limner.vendors.secrets.tokens import token_for

    async def secret() -> str:
        async with ReplicateClient(settings.replicate_url, token_for("replicate", settings)) as client:
            return (await client.webhook_secret()).reveal()

    app = webhook_app(secret, wakeups.wake)
    config = Config(
        app,
        host="127.0.0.1",
        port=settings.webhook_port,
        http=bounded_by(Limits.of(settings)),
        ws="none",
        backlog=BACKLOG,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
    )
    server = Server(config)
    thread = threading.Thread(target=_serve, args=(server, settings.webhook_port), name="webhooks", daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.should_exit = True
        thread.join(timeout=5)


def _serve(server: object, port: int) -> None:
    try:
        server.run()  # type: ignore[attr-defined]
    except SystemExit:  # how uvicorn says that it cannot have the port
        log.warning("Port %s is taken: no webhooks are heard, and vendors are polled instead.", port)
