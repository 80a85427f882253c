"""From samples to features: one file a family, and the front end."""
