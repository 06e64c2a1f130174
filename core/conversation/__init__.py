"""Talking about code: history on disk, memory in a bounded prompt."""
