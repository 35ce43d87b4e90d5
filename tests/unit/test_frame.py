"""A frame is whole or it does not validate; its length is believed only under its checksum."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway import frame

UUID = bytes(range(16))


@given(st.binary(max_size=200), st.integers(0, 2**64 - 1), st.integers(0, 2**32 - 1))
def test_a_frame_comes_back_as_it_was_and_keeps_the_alignment(body: bytes, first: int, items: int) -> None:
    data = frame.encode(UUID, frame.BATCH, first, items, body)
    assert len(data) % frame.ALIGNMENT == 0
    whole = frame.whole_at(UUID, b"x" * 16 + data, 16)
    assert whole is not None
    header, found = whole
    assert (header.kind, header.first, header.items, found) == (frame.BATCH, first, items, body)
    assert header.frame_bytes == frame.frame_bytes(len(body)) == len(data)


def test_every_flipped_bit_of_header_and_body_is_seen() -> None:
    data = frame.encode(UUID, frame.JOURNAL, 7, 3, b"the body of a frame")
    for offset in range(frame.HEADER_BYTES + 19):
        for bit in range(8):
            flipped = bytearray(data)
            flipped[offset] ^= 1 << bit
            assert frame.whole_at(UUID, bytes(flipped), 0) is None, (offset, bit)


def test_every_truncation_is_seen() -> None:
    data = frame.encode(UUID, frame.JOURNAL, 7, 3, b"the body of a frame")
    for cut in range(frame.HEADER_BYTES + 19):
        assert frame.whole_at(UUID, data[:cut], 0) is None, cut


def test_a_frame_of_another_file_does_not_validate() -> None:
    data = frame.encode(UUID, frame.JOURNAL, 7, 3, b"body")
    assert frame.whole_at(bytes(16), data, 0) is None


def test_a_damaged_body_leaves_the_counts_readable() -> None:
    data = bytearray(frame.encode(UUID, frame.BATCH, 9, 500, b"body"))
    data[frame.HEADER_BYTES] ^= 1
    header = frame.parse_header(UUID, bytes(data[: frame.HEADER_BYTES]))
    assert header is not None
    assert (header.first, header.items) == (9, 500)
    assert not frame.body_is_whole(UUID, header, bytes(data[frame.HEADER_BYTES : frame.HEADER_BYTES + 4]))
