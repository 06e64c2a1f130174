"""The engine process: where models and knowledge live, shared by all clients."""
