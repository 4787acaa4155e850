"""Who may: identity, sessions, tokens, forged requests, hosts and headers."""

from limner.web.access.guarding import guard
from limner.web.access.identity import Visitor, require
from limner.web.access.rules import Rules

__all__ = ["Rules", "Visitor", "guard", "require"]
