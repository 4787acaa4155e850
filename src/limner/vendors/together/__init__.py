"""Together AI's client."""
