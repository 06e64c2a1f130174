"""One module per capability; each attaches its handlers with `register`."""
