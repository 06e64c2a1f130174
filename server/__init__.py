"""The language server: editors on one side, the engine on the other.

It holds no model and no store, and must never import what loads one.
"""
