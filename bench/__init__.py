"""Measurements: what is compared and how to run it stands in README.md."""
