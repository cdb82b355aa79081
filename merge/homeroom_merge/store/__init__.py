"""All SQL of the pipeline's state, one function a statement; bodies go in and out as canonical JSON text."""
