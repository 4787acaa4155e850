"""Running the server: where it listens, whom it lets in, and the browser."""

from __future__ import annotations

import ipaddress
import json
import logging
import socket
import threading
import webbrowser
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from types import FrameType

import uvicorn

from limner.errors import Conflict, InputRefused
from limner.http_server.connections import BACKLOG, Limits, bounded_by
from limner.processes import keep_private
from limner.settings import Settings
from limner.studio import Studio
from limner.vendors.secrets.redaction import guard_logging
from limner.web.access import Rules
from limner.web.access.origins import host_name
from limner.web.app import create_app

__all__ = ["Address", "is_loopback", "rules_for", "serve_studio"]

log = logging.getLogger(__name__)

TRIED_PORTS = 20
"""Ports tried after the usual one where none was named and it is taken."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where the server listens; ``fixed``: the port was named by the user, so no other will do."""

    host: str
    port: int
    fixed: bool

    @property
    def url(self) -> str:
        """The address for a browser on this machine."""
        host = "127.0.0.1" if self.host in ("0.0.0.0", "::", "localhost") else self.host  # noqa: S104
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}"


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach the address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _listen(address: Address) -> socket.socket:
    last: OSError | None = None
    for port in range(address.port, address.port + (1 if address.fixed or not address.port else TRIED_PORTS)):
        family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
        listening = socket.socket(family, socket.SOCK_STREAM)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((address.host, port))
        except OSError as failure:
            listening.close()
            last = failure
            continue
        listening.listen(BACKLOG)
        return listening
    raise Conflict(
        f"Limner cannot listen on {address.host}:{address.port}: {last.strerror if last else 'no port is free'}.",
        remedy="Another program, or another `limner serve`, has it: name a free port with --port.",
        thing=str(address.port),
    )


def rules_for(studio: Studio, address: Address, *, login: bool, secure: bool = False) -> Rules:
    """The rules for an address. Conflict: somebody would have to log in, and there is nobody who can.

    Where there are users everybody logs in, on this machine too: else whoever sits at it would be all of them.
    """
    named = _names(studio.settings)
    outside = _outside(address, named, secure=secure)
    users = studio.members.users()
    if (login or outside) and not users:
        reached = f"Other machines reach this server {outside}, and there" if outside else "There"
        at = "" if is_loopback(address.host) else f" --host {address.host}"
        command = f"limner serve{at}{' --secure' if secure else ''}{'' if outside else ' --login'}"
        raise Conflict(
            f"{reached} is nobody who could log in.",
            remedy=f"Add a user first: limner users add NAME; then: {command}.",
            thing=address.host,
        )
    names = {*Rules().hosts, *named}
    anywhere = not is_loopback(address.host)
    if anywhere:
        own = socket.gethostname().lower()
        names |= {_bracketed(address.host), own, f"{own.partition('.')[0]}.local"}
    return Rules(login=bool(users), hosts=tuple(sorted(names)), addresses=anywhere, secure=secure)


def _names(settings: Settings) -> set[str]:
    """The names that the user allows. That of ``public_url`` is none: it leads to the worker's port for webhooks."""
    return {host_name(name) for name in settings.hosts.replace(",", " ").split()}


def _outside(address: Address, names: Iterable[str], *, secure: bool) -> str:
    """How other machines reach the server, in words, "" if they do not.

    One that listens on loopback alone is reached by others all the same if something on this machine passes requests
    on to it: a proxy with https, or whatever calls it by a name that is not this machine's alone.
    """
    if not is_loopback(address.host):
        return f"at {address.host}"
    ways = [f"as {name} (LIMNER_HOSTS)" for name in sorted(names) if not is_loopback(name)]
    return next(iter(ways), "through a proxy (--secure)" if secure else "")


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host and not host.startswith("[") else host.lower()


def _said(bound: Address, rules: Rules, as_json: bool) -> Iterator[str]:
    """What is told when the server listens."""
    if as_json:
        yield json.dumps({"url": bound.url, "host": bound.host, "port": bound.port, "login": rules.login})
        return
    yield f"Limner is at {bound.url}  (Ctrl-C stops the server; jobs go on)"
    if not rules.login:
        yield "Only this machine can reach it, and nobody has to log in."
        return
    yield "Everybody has to log in. Users are added with: limner users add NAME"
    if not _outside(bound, rules.hosts, secure=rules.secure):
        return
    others = [name for name in rules.hosts if not is_loopback(name) and name not in ("0.0.0.0", "[::]")]  # noqa: S104
    if is_loopback(bound.host):
        called = f", as {', '.join(others)}" if others else "; the names that it passes on go into LIMNER_HOSTS"
        yield f"Other machines reach it through a proxy on this one{called}."
    else:
        yield f"Other machines reach it at port {bound.port} of this one's address, or as {', '.join(others)}."
    if not rules.secure:
        yield "What is sent can be read on the way: in a network you do not trust put an https proxy before it."


class _Server(uvicorn.Server):
    """Ends the event streams when it is to stop: it would wait for them else."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        live = getattr(self.config.app.state, "live", None)  # type: ignore[union-attr]
        if live is not None:
            live.stop()
        super().handle_exit(sig, frame)


def serve_studio(
    settings: Settings, address: Address, rules: Rules, *, browser: bool = True, as_json: bool = False
) -> None:
    """Serve until stopped. Conflict: the port is taken. InputRefused: reachable from outside without a login.

    ``as_json``: what is told is one line with ``url``, ``host``, ``port`` and ``login``, for a program that starts it.
    """
    guard_logging()
    keep_private()
    outside = _outside(address, {*rules.hosts, *_names(settings)}, secure=rules.secure)
    if outside and not rules.login:
        raise InputRefused(
            f"Other machines reach this server {outside}, and nobody would have to log in.",
            remedy="Add a user first: limner users add NAME.",
            thing=address.host,
        )
    listening = _listen(address)
    bound = Address(address.host, listening.getsockname()[1], fixed=True)
    app = create_app(settings, rules=rules)
    config = uvicorn.Config(
        app,
        http=bounded_by(Limits.of(settings)),
        ws="none",
        backlog=BACKLOG,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=3,
        proxy_headers=False,
    )
    server = _Server(config)
    for line in _said(bound, rules, as_json):
        print(line, flush=True)  # noqa: T201
    if browser:
        threading.Timer(0.5, webbrowser.open, [bound.url]).start()
    server.run(sockets=[listening])
