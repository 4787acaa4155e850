"""X/Y grids: axes, cells, votes, the sheet."""
