"""Searching the coefficients of a job: what `corpusdiff tune` does."""
