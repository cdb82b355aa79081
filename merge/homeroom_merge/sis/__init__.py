"""A SIS as merging sees it: records in the hub's shape, never rows."""
