"""Work made ahead in threads, handed out in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

P = TypeVar("P")
T = TypeVar("T")

Start = Callable[[ThreadPoolExecutor], Future[T]]
"""Hands one piece of work, in as many parts as it likes, to the pool."""

# Besides the one in use; a batch of 128 training images at 224 px takes 77 MB.
_AHEAD = 2


def made_ahead(starts: Iterable[Start[T]], threads: int) -> Generator[T, None, None]:
    """Yields the results in order, while threads make the next ones; closing it ends them.

    Args:
        starts: hand one piece of work each to the pool.
        threads: how many work.

    Raises:
        Exception: whatever one of them raises, in its place in the order.
    """
    pool = ThreadPoolExecutor(max_workers=max(1, threads), thread_name_prefix="images")
    making: deque[Future[T]] = deque()
    try:
        for start in starts:
            making.append(start(pool))
            if len(making) > _AHEAD:
                yield making.popleft().result()
        while making:
            yield making.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def in_parts(
    pool: ThreadPoolExecutor,
    parts: Iterable[Callable[[], P]],
    finish: Callable[[list[P]], T],
) -> Future[T]:
    """Hands the parts to the pool, and then the making of one thing from their results.

    Args:
        finish: makes it, given the parts' results in their order.
    """
    made = [pool.submit(part) for part in parts]
    # Waits in the pool for what was handed to it before, which itself waits for nothing.
    return pool.submit(lambda: finish([part.result() for part in made]))
