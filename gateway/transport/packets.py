"""Bytes of an MQTT 5 stream in, whole packets out; never more than the allowed bytes buffered.

The codec (`mqtt5`) is strict and fast but has three voices for bad bytes: IndexError when a packet is not whole yet,
ValueError when it is malformed, and a PanicException, which is a BaseException, for text that is not UTF-8. A packet
whose announced length has arrived and that still is "not whole" lies about its insides: it is malformed too, and
waiting for more would wedge the connection. `PacketReader` turns all of this into `MalformedPacketError`, and refuses
a packet by its announced length before a byte of it is kept.

Source: MQTT 5.0 section 1.5.5 (variable byte integer) and section 2.1 (fixed header).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import mqtt5

from gateway.errors import MalformedPacketError

if TYPE_CHECKING:
    from mqtt5 import Packet

ROOM_BYTES: Final = 256 * 1024
"""Size of the buffer that a connection reads into; it grows only for one packet that is larger."""

_LENGTH_BYTES_MAX: Final = 4
_PUBACK: Final = 0x40
_REASON_AT: Final = 4
_PACKET_TOO_LARGE: Final = 0x95
TOO_LARGE: Final = "packet too large"
"""The reason string of a PUBACK whose code says so, which MQTT 5 has for other packets only."""


def announced_bytes(data: memoryview) -> int | None:
    """Return the size of the packet at the start of `data` from its fixed header, or None when that is not whole.

    Raises `MalformedPacketError` when the length takes more than four bytes.
    """
    length = 0
    for index, byte in enumerate(data[1 : 2 + _LENGTH_BYTES_MAX]):
        if index == _LENGTH_BYTES_MAX:
            break
        length |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:  # noqa: PLR2004  # the continuation bit of the standard
            return 2 + index + length
    if len(data) > 1 + _LENGTH_BYTES_MAX:
        raise MalformedPacketError("packet length of more than four bytes")
    return None


def _refusal(data: memoryview) -> tuple[mqtt5.PubAckPacket, int]:
    """Read a PUBACK whose reason code MQTT 5 has for other packets only, and raise `ValueError` at anything else.

    mosquitto 2.0 answers a message above its message_size_limit with 0x95, "packet too large".
    """
    size = announced_bytes(data)
    if data[0] != _PUBACK or size is None or not _REASON_AT < size <= len(data):
        raise ValueError("unknown reason code")
    code, packet_id = data[_REASON_AT], int.from_bytes(data[2:_REASON_AT])
    reason = TOO_LARGE if code == _PACKET_TOO_LARGE else f"reason code 0x{code:02x}"
    error = mqtt5.PubAckReasonCode.IMPLEMENTATION_SPECIFIC_ERROR
    return mqtt5.PubAckPacket(packet_id, reason_code=error, reason_str=reason), size


class PacketReader:
    """The receive buffer of one connection: `room` is where the socket writes, `received` gives the packets."""

    __slots__ = ("_buffer", "_end", "_packet_bytes_max", "_start", "_view")

    def __init__(self, packet_bytes_max: int) -> None:
        self._packet_bytes_max = packet_bytes_max
        self._reset(ROOM_BYTES)

    def _reset(self, size: int) -> None:
        self._buffer = bytearray(size)
        self._view = memoryview(self._buffer)
        self._start = 0
        self._end = 0

    def room(self) -> memoryview:
        """Return the free part of the buffer, never empty."""
        return self._view[self._end :]

    def received(self, size: int) -> list[Packet]:
        """Take `size` bytes that were written into `room` and return every packet that is now whole.

        Raises `MalformedPacketError`; the connection must then be closed, the packets before the fault are lost with it
        (they were not acknowledged, so the peer still has them).
        """
        self._end += size
        view, start, end = self._view, self._start, self._end
        packets: list[Packet] = []
        read = mqtt5.read
        try:
            while start < end:
                try:
                    packet, used = read(view[start:end])
                except ValueError:
                    packet, used = _refusal(view[start:end])
                packets.append(packet)
                start += used
        except IndexError:
            pass
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # the codec's panics are BaseExceptions
            raise MalformedPacketError(f"the peer sent bytes that are not MQTT 5: {error}") from error
        self._start = start
        self._make_room()
        return packets

    def _make_room(self) -> None:
        waiting = self._view[self._start : self._end]
        need = announced_bytes(waiting)
        if need is not None:
            if need > self._packet_bytes_max:
                raise MalformedPacketError(
                    f"the peer announced a packet of {need} bytes, {self._packet_bytes_max} are allowed",
                    hint="raise broker.packet_bytes_max, or find the sensor that sends so much",
                )
            if need <= len(waiting):
                raise MalformedPacketError("a packet's inner lengths exceed its own")
        kept = bytes(waiting)
        size = max(ROOM_BYTES, need or 0)
        if size != len(self._buffer):
            self._reset(size)
        self._view[: len(kept)] = kept
        self._start, self._end = 0, len(kept)
