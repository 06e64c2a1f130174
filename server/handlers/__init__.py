"""One module per capability of the language server."""
