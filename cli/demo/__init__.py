"""The demo: an editor's session with the real language server, told and checked step by step."""
