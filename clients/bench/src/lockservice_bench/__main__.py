"""`python -m lockservice_bench` is `lockservice bench`."""

from lockservice_bench.cli import main

main()
