"""Stand-ins: the vendors as HTTP servers on this machine, so that the whole way can be rehearsed without an account."""
