"""`python -m adapterhub`."""

from adapterhub.cli.main import main

main()
