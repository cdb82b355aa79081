"""Rules of the Alberta catalogue, one module a type. Numbers follow PASI's ranges."""
