"""Hostile input: mutated media, formats that bite, and a fuzzer on our own parsers."""
