"""What happened in a run: lines of JSON, a sheet, a page; records pass by one at a time."""
