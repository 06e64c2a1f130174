"""From a description and retrieved solutions to code that fits into a document."""
