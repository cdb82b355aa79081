"""The console: pages for operators and school administrators, at /console."""
