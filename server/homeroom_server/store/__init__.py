"""All SQL of the Core: one function a statement, `$n` parameters in, typed rows out."""
