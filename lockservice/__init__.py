"""Leases, ordering and deduplication for workers that share entities."""

__version__ = "0.1.0"
