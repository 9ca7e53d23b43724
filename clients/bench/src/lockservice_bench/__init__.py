"""Measures lockservice beside its peers, in one run."""
