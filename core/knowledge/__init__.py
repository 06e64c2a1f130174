"""Solved tasks: the journal that keeps them and the index that finds them."""
