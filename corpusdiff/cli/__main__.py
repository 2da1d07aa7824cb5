"""``python -m corpusdiff.cli``."""

from corpusdiff.cli import main

main()
