"""Measures lockservice beside an empty gRPC handler and redis-py's Lock, in one run."""
