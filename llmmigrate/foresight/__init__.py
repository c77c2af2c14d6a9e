"""Seeing a migration before it is run: through the real runner, store and gates."""
