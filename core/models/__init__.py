"""Language models: installing, loading, swapping and running them."""
