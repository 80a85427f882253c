"""Label maps in the box, MODEL-DATA.toml each; see `models.label_map`."""
