"""Classical families: scikit-learn over the statistics of a window."""
