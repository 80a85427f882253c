"""What `evaluate` is made of: figures, reports, comparisons."""
