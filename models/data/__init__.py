"""Data sets and their folds, one file each."""
