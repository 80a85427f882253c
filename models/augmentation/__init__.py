"""Batches of training windows, and how recordings are changed on the way into them."""
