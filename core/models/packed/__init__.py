"""Language models with 4- and 8-bit weights for the CPU: how they are made, stored and run."""
