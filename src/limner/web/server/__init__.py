"""Serving: sockets, connections, request heads, addresses."""
