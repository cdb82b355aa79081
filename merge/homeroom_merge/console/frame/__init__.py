"""What every console is made of: a layout, forms that come from our own pages, tables as files."""
