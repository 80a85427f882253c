"""The recipes of the models in the box, a TOML file each; `models.recipe` reads them."""
