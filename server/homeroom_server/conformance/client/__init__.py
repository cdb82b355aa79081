"""A client put through the cases that matter, by a Core that follows a script."""
