"""`python -m homeroom.command` is `homeroom-replica`."""

from homeroom.command import main

main()
