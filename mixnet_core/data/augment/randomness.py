"""The randomness of training images comes from a counter, not from a state that is carried along.

An image's draws depend on (seed, epoch, its position in the index) and a batch's on (seed, epoch,
step, rank, part), so an epoch can be entered at any step, by any number of threads. Equal numbers
give equal draws for one version of numpy: it does not promise more of its distributions.
"""

from __future__ import annotations

from numpy.random import Generator, Philox, SeedSequence


def image_generator(seed: int, epoch: int, position: int) -> Generator:
    """Returns an image's generator, the same on whichever rank the image is.

    Args:
        position: of the image in the split's index.
    """
    return _generator(seed, epoch, (position,))


def batch_generator(seed: int, epoch: int, step: int, rank: int, part: int) -> Generator:
    """Returns a micro-batch's generator.

    Args:
        part: which micro-batch of the step it is on its rank, from 0.
    """
    return _generator(seed, epoch, (step, rank, part))


def _generator(seed: int, epoch: int, key: tuple[int, ...]) -> Generator:
    # A spawn key keeps its length: as parts of the entropy, (1, 2) and (1, 2, 0) would be the same.
    return Generator(Philox(SeedSequence((seed, epoch), spawn_key=key)))
