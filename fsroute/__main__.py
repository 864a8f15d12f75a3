"""`python -m fsroute`."""

from fsroute.cli import main

main()
