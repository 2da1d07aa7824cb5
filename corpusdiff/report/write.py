"""``corpusdiff report``: from a finished corpus to its page."""

from __future__ import annotations

from pathlib import Path

from corpusdiff.errors import UsageError
from corpusdiff.planfile import load_plan
from corpusdiff.report.choose import choose
from corpusdiff.report.collect import collect
from corpusdiff.report.listen import listen
from corpusdiff.report.page import About, render
from corpusdiff.store.generations import plan_key, read_plans
from corpusdiff.store.objects import open_objects
from corpusdiff.store.read import Corpus

#: Where the page lies unless the user says otherwise.
PAGE_KEY = "report.html"


def write_report(out: str, path: str | None = None, n_samples: int = 12, seed: int = 0) -> str:
    """Write the page of a corpus; where it is.

    Parameters
    ----------
    out : the finished corpus
    path : file to write; None for ``report.html`` in OUT
    n_samples : tracks to listen to, at most
    seed : of those that are chosen by chance

    Raises StoreError where there is no finished corpus, UsageError where the page cannot be written.
    """
    corpus = Corpus(out)
    objects = open_objects(out, write=False)
    plans = read_plans(objects)
    _, made = load_plan(objects.read(plan_key(len(plans) - 1)))
    samples = list(listen(corpus, choose(corpus, n_samples, seed)))
    page = render(About(out, plans[-1].job, made), collect(corpus), samples).encode()
    if path is None:
        objects.replace(PAGE_KEY, page)
        return f"{objects.location}/{PAGE_KEY}"
    try:
        Path(path).write_bytes(page)
    except OSError as error:
        raise UsageError(f"{path}: cannot be written ({error.strerror}): choose another place by -o") from error
    return path
