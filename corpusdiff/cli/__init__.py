"""The command line. Each command reads its options, calls one function and prints what it says."""

import os

# no product of matrices here is worth the threads of OpenBLAS, which take a quarter of a second to start
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from corpusdiff.cli import cluster, corpus, export, jobs, live, manual, synth, tune
from corpusdiff.cli.group import main

__all__ = ["cluster", "corpus", "export", "jobs", "live", "main", "manual", "synth", "tune"]
