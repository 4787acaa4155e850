"""Payments: purchases made once, their intents, the ledger."""
