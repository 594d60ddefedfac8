"""Anything that answers: local engines, servers, prompts around them, the ledger, and doubles with known ability."""
