"""A recording in pieces that are processed apart, with the numbers and the samples of the whole."""
