"""HTTP servers of Limner: how many connections, and how large and slow their heads and bodies may be."""
