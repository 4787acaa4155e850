"""The MCP server: Limner's operations for assistants."""
