"""Measuring how good the assistant is."""
