"""CPU seconds of a run by what they went to: the pipe to the child, the store, all.

python tests/bench/overhead.py SOURCE OUT
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections import Counter
from collections.abc import Callable
from functools import wraps
from typing import Any

from corpusdiff import driver, process, request
from corpusdiff.pipe import Pipe

spent: Counter[str] = Counter()


def timed(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, its CPU seconds added up under `name`."""

    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        started = time.thread_time()
        try:
            return function(*args, **kwargs)
        finally:
            spent[name] += time.thread_time() - started

    return call


if __name__ == "__main__":
    Pipe.send = timed("pipe_s", Pipe.send)
    Pipe.receive = timed("pipe_s", Pipe.receive)
    process.commit_shard = timed("store_s", process.commit_shard)
    driver.finalise = timed("store_s", driver.finalise)
    code = driver.execute(request.RunRequest(sys.argv[1], sys.argv[2], cluster="none"))
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent["all_s"] = time.process_time() + children.ru_utime + children.ru_stime
    print(json.dumps(spent))
    sys.exit(code)
