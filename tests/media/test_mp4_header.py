import io
import struct

from avssl.media.mp4_header import claims


class Counted(io.BytesIO):
    num_reads = 0

    def read(self, size=-1):
        self.num_reads += 1
        return super().read(size)


def box(kind: bytes, body: bytes = b"") -> bytes:
    return struct.pack(">I4s", 8 + len(body), kind) + body


def stating(seconds: int) -> bytes:
    return box(b"mvhd", bytes(12) + struct.pack(">II", 1000, 1000 * seconds))


def test_all_of_the_index_is_read_and_nothing_after_it():
    index = box(b"moov", box(b"trak") + stating(7))
    fragments = box(b"moof", bytes(32)) * 5000
    file = Counted(box(b"ftyp") + index + fragments + box(b"moov", stating(9)))
    assert claims(file) == (7.0, 0)
    assert file.num_reads < 10
    assert claims(Counted(box(b"ftyp") + fragments + index)) == (7.0, 0)
