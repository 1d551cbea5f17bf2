"""Measurements of the live path on this machine: the local server in a process of its own, the unmodified clients and the whole runner here."""
