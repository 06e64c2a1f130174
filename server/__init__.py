"""The language server: one process per editor window, light, and never blocking."""
