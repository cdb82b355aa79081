"""`python -m homeroom_server` is the `homeroom` command."""

from homeroom_server.cli import main

main()
