"""One script a peer, run by that peer's own interpreter: they import nothing of replay."""
