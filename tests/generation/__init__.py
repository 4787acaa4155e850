"""Stage 6: drawing pictures, and what they say of themselves."""
