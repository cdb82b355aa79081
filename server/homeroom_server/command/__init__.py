"""What the `homeroom` command is made of: how every command is run, and the commands about access."""
