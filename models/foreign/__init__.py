"""Models of others: made into bundles, and tried before they are kept."""
