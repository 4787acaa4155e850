"""``limner serve --json`` for a program that starts it: one line, and at its address somebody answers."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import urllib.request

from tests.waiting import PATIENCE

from .conftest import Shell


def test_the_address_is_one_line_of_json_and_answers(limner: Shell) -> None:
    words = [sys.executable, "-m", "limner", "serve", "--json", "--no-browser", "--port", "0"]
    server = subprocess.Popen(words, env=limner.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        told = json.loads(server.stdout.readline())
        assert told == {
            "url": f"http://127.0.0.1:{told['port']}",
            "host": "127.0.0.1",
            "port": told["port"],
            "login": False,
        }
        with urllib.request.urlopen(f"{told['url']}/api/v1/openapi.json", timeout=PATIENCE) as answer:
            assert json.load(answer)["info"]["title"] == "Limner"
        server.send_signal(signal.SIGINT)
        rest, _ = server.communicate(timeout=PATIENCE)
        assert rest == ""
    finally:
        server.kill()
        server.wait()


def test_a_port_that_is_taken_is_a_problem(limner: Shell) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        shown = limner("serve", "--json", "--no-browser", "--port", port)
    assert shown.code == 4
    assert shown.problem["thing"] == str(port)
