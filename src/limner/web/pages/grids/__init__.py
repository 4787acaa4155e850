"""The pages of X/Y grids and comparisons."""
