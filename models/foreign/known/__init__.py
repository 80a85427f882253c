"""Manifests of known foreign models, and their labels; `models.known_models` reads them."""
