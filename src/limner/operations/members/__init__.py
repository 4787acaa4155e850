"""Members: users, passwords, tokens, sessions."""
