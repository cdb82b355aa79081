"""The merge pipeline: keeps a school's student information system and the Core in step, both ways."""
