"""One process a file."""
