"""Runs the flash sale: `python -m flash_sale`."""

from flash_sale.cli import main

main()
