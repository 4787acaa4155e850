"""The page that draws pictures."""
