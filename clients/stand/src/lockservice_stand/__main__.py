"""`python -m lockservice_stand`."""

from lockservice_stand.cli import main

main()
