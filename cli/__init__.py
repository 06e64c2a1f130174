"""The command line: a client of the engine, and the demo."""
