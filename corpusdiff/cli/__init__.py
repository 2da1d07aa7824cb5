"""The command line. Each command reads its options, calls one function and prints what it says."""

from corpusdiff.cli import cluster, corpus, jobs, live, synth, tune
from corpusdiff.cli.group import main

__all__ = ["cluster", "corpus", "jobs", "live", "main", "synth", "tune"]
