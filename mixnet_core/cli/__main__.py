"""`python -m mixnet_core.cli`: the command `mixnet`, where it is not on the path."""

from mixnet_core.cli.app import main

main()
