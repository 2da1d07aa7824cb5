"""Many Dask workers of one thread each in one process: ``python -m scale.simulated_workers ADDRESS N``."""

from __future__ import annotations

import asyncio
import sys
from contextlib import AsyncExitStack
from functools import cache

from distributed import Worker

from corpusdiff.cluster import fitness


async def serve(address: str, n_workers: int) -> None:
    """Work until the scheduler ends."""
    async with AsyncExitStack() as stack:
        made = [Worker(address, nthreads=1, memory_limit=0, dashboard=False) for _ in range(n_workers)]
        workers = [await stack.enter_async_context(worker) for worker in made]
        await asyncio.gather(*(worker.finished() for worker in workers))


if __name__ == "__main__":
    fitness._versions = cache(fitness._versions)  # every worker asks, and here all are one process
    asyncio.run(serve(sys.argv[1], int(sys.argv[2])))
