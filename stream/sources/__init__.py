"""Where sound comes from: one file a kind of source."""
