"""HTTP on the wire, by httptools, with a limit that it does not have: how long the head of a request may be."""

from __future__ import annotations

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

__all__ = ["LONGEST_HEAD", "BoundedHeads"]

LONGEST_HEAD = 65_536
"""Bytes of request line and headers, and of what stands between the pieces of a body."""


class BoundedHeads(HttpToolsProtocol):
    """A connection that is ended when it sends on and on what is neither a finished head nor a body."""

    _unfinished = 0

    def data_received(self, data: bytes) -> None:
        # What is finished, or is body, sets the count back while it is read.
        self._unfinished += len(data)
        super().data_received(data)
        if self._unfinished > LONGEST_HEAD and not self.transport.is_closing():
            self._unfinished = 0
            if self.cycle is None or self.cycle.response_complete:
                self.send_400_response("The head of the request is too long.")
            else:
                self.transport.abort()

    def on_headers_complete(self) -> None:
        """A head is finished. One that came in a single piece has been held already, so it is served."""
        self._unfinished = 0
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """A piece of a body; how long bodies may be is the guard's matter."""
        self._unfinished = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """A request is finished."""
        self._unfinished = 0
        super().on_message_complete()
