"""Merges that run by themselves: a queue of jobs, workers that do them, and the clock that says when."""
