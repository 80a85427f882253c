"""Runtimes: a model file opened and run, a file for each kind."""
