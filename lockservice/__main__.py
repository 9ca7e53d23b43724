"""`python -m lockservice` is the command `lockservice`."""

from lockservice.cli import run

run()
