"""Deciding by embeddings whether a query wants an explanation or code."""
