"""The bundles in the box."""
