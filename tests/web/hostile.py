"""Requests as no browser and no honest program sends them, byte by byte over a real socket."""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote

from tests.waiting import PATIENCE

__all__ = ["HEADERS", "JSON_BODIES", "JSON_VALUES", "PARTS", "TEXTS", "VALUES", "Wire", "encoded_form"]

VALUES: Mapping[str, bytes] = {
    "empty": b"",
    "a byte beyond ASCII": b"\xff\xfe",
    "UTF-8": "é日本🐶".encode(),
    "half a character": b"\xed\xa0\x80",
    "half a character in digits": b"%ed%a0%80%00%ff",
    "NUL": b"a\x00b",
    "a tab": b"a\tb",
    "very long": b"x" * 30_000,
    "many commas": b"," * 5_000,
    "many parts": b"a=b; " * 3_000,
    "Arabic digits": "١٢".encode(),
    "10 to the 400": b"1" + b"0" * 400,
    "10 to the 5000": b"1" + b"0" * 5_000,
    "minus one": b"-1",
    "a float": b"1e309",
    "no number": b"NaN",
    "bad base64": b"name =, name AAA, =, \xc3\xa9 ====",
    "a range": b"bytes=" + b"9" * 500 + b"-1,-5,0-0,5-2," + b"0-1," * 1_000,
    "quotes": b'"a\\"b", W/"c", *, "',
    "markup": b"<img src=x onerror=alert(1)>' or 1=1 --",
    "an address": b"http://[::1/\\@:99999999/%zz?#",
    "an address in brackets": b"http://[v1.\xc3\xa9]:0x/",
}
"""What stands in a header, by its kind."""
HEADERS = (
    "Accept",
    "Accept-Encoding",
    "Accept-Language",
    "Authorization",
    "Connection",
    "Content-Encoding",
    "Content-Length",
    "Content-Type",
    "Cookie",
    "Expect",
    "HX-Current-URL",
    "HX-Request",
    "HX-Request-Type",
    "HX-Target",
    "Host",
    "Idempotency-Key",
    "If-Match",
    "If-Modified-Since",
    "If-None-Match",
    "If-Range",
    "Last-Event-ID",
    "Origin",
    "Range",
    "Referer",
    "Sec-Fetch-Dest",
    "Sec-Fetch-Mode",
    "Sec-Fetch-Site",
    "Transfer-Encoding",
    "Tus-Resumable",
    "Upgrade",
    "Upload-Checksum",
    "Upload-Defer-Length",
    "Upload-Length",
    "Upload-Metadata",
    "Upload-Offset",
    "X-CSRF-Token",
    "X-Forwarded-For",
)
TEXTS = (
    "",
    "a\0b",
    "\ufffd\u202e🐶",
    "x" * 100_000,
    "-1",
    "1e309",
    "nan",
    "١٢",
    "9" * 400,
    "9" * 5_000,
    "[" * 2_000,
    '{"a": "\\ud800"}',
    "<script>globalThis.ran=1</script>",
    "../../etc/passwd",
    "http://[::1",
    "2026-13-99T99:99",
    "true\r\nX-Injected: 1",
)
"""What stands in a field of a form, or behind a name in an address."""
JSON_VALUES = (
    '"\\ud800"',
    '"a\\u0000b"',
    json.dumps("x" * 100_000),
    "1" + "0" * 24,
    "1" + "0" * 400,
    "1" + "0" * 5_000,
    "-1",
    "1e308",
    "1e400",
    "NaN",
    "null",
    "true",
    "[]",
    "{}",
    "[null]",
    '[{"a": [[]]}]',
    '{"\\udfff": "\\ud800"}',
    '""',
    '"١٢"',
    "[" * 30 + "]" * 30,
)
"""What stands for a value in JSON, as it is written."""
JSON_BODIES: Mapping[str, bytes] = {
    "nothing": b"",
    "no UTF-8": b'{"a": "\xff"}',
    "UTF-16": '{"a": 1}'.encode("utf-16"),
    "a mark before it": b"\xef\xbb\xbf{}",
    "nested deep": b"[" * 100_000,
    "nested deep and whole": b'{"a":' * 5_000 + b"1" + b"}" * 5_000,
    "a number alone": b"12",
    "digits without end": b"1" * 10_000,
    "text alone": b'"a"',
    "a list": b"[1, 2]",
    "the same name twice": b'{"subject": 1, "subject": [2]}',
    "cut off": b'{"subject": "a',
    "half a character": b'"\\ud800"',
    "NUL": b"\x00",
}


_PART = b"--x\r\nContent-Disposition: form-data; name="
PARTS: tuple[tuple[bytes, ...], tuple[bytes, ...]] = (
    (
        b"multipart/form-data; boundary=x",
        b"multipart/form-data; boundary=\xff",
        b"multipart/form-data",
        b"multipart/form-data; boundary=" + b"x" * 500,
        b"multipart/form-data; boundary*=utf-16''x",
        b"multipart/form-data; charset=nonsense; boundary=x",
        b'multipart/form-data; boundary=""',
    ),
    (
        b"",
        b"--x\r\n",
        b"--x\r\n\r\n\r\n--x--\r\n",
        _PART + b'"\xff"; filename="\x00"\r\n\r\nabc\r\n--x--\r\n',
        _PART + b"photos; filename*=utf-8''%ed%a0%80\r\n\r\nabc\r\n--x--\r\n",
        _PART + b'file; filename="=?utf-8?b?/w==?="\r\nContent-Type: \xff\r\n\r\nabc\r\n--x--\r\n',
        _PART + b'photos; filename="../../' + b"x" * 9_000 + b'.jpg"\r\n\r\nabc\r\n--x--\r\n',
        _PART + b"photos; filename=a.jpg\r\nContent-Transfer-Encoding: rot13\r\n\r\nabc\r\n--x--\r\n",
    ),
)
"""Types of a multipart form, and forms."""


def encoded_form(fields: Sequence[tuple[str, str]]) -> bytes:
    """A URL-encoded form."""
    return "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in fields).encode()


@dataclass
class Wire:
    """A connection that is kept as long as the server keeps it."""

    address: tuple[str, int]
    line: socket.socket | None = None

    def send(
        self,
        method: str,
        target: bytes,
        headers: Sequence[tuple[str, bytes]],
        body: bytes = b"",
    ) -> tuple[int, bytes]:
        """Send a request as it is; the status and head of its answer, 0 where the server ended the connection."""
        head = [method.encode() + b" " + target + b" HTTP/1.1", *(n.encode() + b": " + v for n, v in headers)]
        sent = b"\r\n".join(head) + b"\r\n\r\n" + body
        for _ in range(2):
            fresh = self.line is None
            try:
                if self.line is None:
                    self.line = socket.create_connection(self.address, timeout=PATIENCE)
                self.line.sendall(sent)
                answer = self._answer(method)
            except ConnectionError:
                answer = (0, b"")
            if answer[0] or fresh:
                return answer
            self.close()
        return answer

    def close(self) -> None:
        """End it."""
        if self.line is not None:
            self.line.close()
            self.line = None

    def _answer(self, method: str) -> tuple[int, bytes]:
        assert self.line is not None
        said = b""
        while b"\r\n\r\n" not in said:
            part = self.line.recv(65_536)
            if not part:
                self.close()
                return 0, said
            said += part
        head, _, rest = said.partition(b"\r\n\r\n")
        status = int(head.split(b" ", 2)[1])
        if status == 100:
            return self._answer(method)
        names = {k.lower(): v.strip() for k, _, v in (line.partition(b":") for line in head.split(b"\r\n")[1:])}
        length = names.get(b"content-length", b"")
        if b"close" in names.get(b"connection", b"") or (not length and status not in (204, 304)):
            # An event stream is not read to its end.
            self.close()
            return status, head
        left = 0 if method == "HEAD" or status in (204, 304) else int(length) - len(rest)
        while left > 0:
            part = self.line.recv(65_536)
            if not part:
                self.close()
                break
            left -= len(part)
        return status, head
