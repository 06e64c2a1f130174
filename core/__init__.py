"""Everything that is not the language server protocol."""
