"""fal's client."""
