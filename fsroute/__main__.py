"""`python -m fsroute`."""

from fsroute.cli.main import main

main()
