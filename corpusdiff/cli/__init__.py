"""The command line. Each command reads its options, calls one function and prints what it says."""

from corpusdiff.cli import cluster, corpus, export, jobs, live, manual, synth, tune
from corpusdiff.cli.group import main

__all__ = ["cluster", "corpus", "export", "jobs", "live", "main", "manual", "synth", "tune"]
