"""Files of pictures: whatever their bytes, check and training agree on whether they are usable."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from mixnet_core.data.inspection import Inspected, Unusable, header, inspected
from mixnet_core.data.pixels import Pixels, decoded
from tests.data.odd_pictures import corpus, damaged
from tests.fuzz.bounds import within
from tests.fuzz.documents import damaged_bytes
from tests.fuzz.searching import rule

# Of the corpus the largest are 21 x 37 pixels, but a damaged header may say up to the limit of
# pixels: three bytes each, and what a library has beside them.
SECONDS, MEGABYTES = 2.0, 1200

_whole = st.deferred(lambda: st.sampled_from([picture.content for picture in corpus()]))
_files = st.one_of(
    st.builds(
        lambda content, seed: damaged(content, np.random.default_rng(seed)),
        _whole.filter(bool),
        st.integers(0, 2**32),
    ),
    _whole.flatmap(damaged_bytes),
    st.builds(lambda one, other, at: one[:at] + other[at:], _whole, _whole, st.integers(0, 300)),
    _whole,
    st.binary(max_size=64),
)


@rule(few=400, content=_files)
def test_a_file_that_check_finds_usable_can_be_decoded_and_no_other(content: bytes) -> None:
    with within(seconds=SECONDS, megabytes=MEGABYTES):
        found, why = _inspected(content)
    with within(seconds=SECONDS, megabytes=MEGABYTES):
        pixels, why_not = _decoded(content)
    if found is None:
        assert pixels is None, f"decoded, but not inspected: {why}"
        assert len(why.splitlines()) == 1
        return
    assert pixels is not None, f"inspected as {found}, but not decoded: {why_not}"
    assert pixels.dtype == np.uint8
    assert pixels.shape == (found.height, found.width, 3)
    assert np.array_equal(decoded(content), pixels)
    assert (header(content).width, header(content).height) == (found.width, found.height)


def _inspected(content: bytes) -> tuple[Inspected | None, str]:
    try:
        return inspected(content), ""
    except Unusable as error:
        return None, str(error)


def _decoded(content: bytes) -> tuple[Pixels | None, str]:
    try:
        return decoded(content), ""
    except ValueError as error:
        return None, str(error)
