"""A file in memory that holds only what was written to it.

HDF5 lays out a packed file of any size here, without its values, so that it never writes
to a real disk: a full one makes it crash. What it wrote is then copied into the real file.
"""

from __future__ import annotations

import io
from collections.abc import Iterator

PAGE = 1 << 16


class SparseFile(io.RawIOBase):
    r"""A file for `h5py.File`; bytes that were never written read as zeros and take no memory.

    Examples
    --------
    >>> file = SparseFile()
    >>> _ = file.seek(1 << 40)
    >>> file.write(b"far")
    3
    >>> file.seek((1 << 40) - 1), file.read(4)
    (1099511627775, b'\x00far')
    """

    def __init__(self):
        self._pages: dict[int, bytearray] = {}
        self._at = 0
        self.size = 0

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a byte."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self.size}[whence]
        self._at = base + offset
        return self._at

    def tell(self) -> int:
        """Return where it is."""
        return self._at

    def truncate(self, size: int | None = None) -> int:
        """Set the size; nothing is cut off, as HDF5 never shrinks a file that it makes."""
        self.size = self._at if size is None else size
        return self.size

    def write(self, data) -> int:
        """Write at the current byte."""
        view = memoryview(data).cast("B")
        for start, low, high in self._pieces(len(view)):
            page = self._pages.setdefault((self._at + start) // PAGE, bytearray(PAGE))
            page[low:high] = view[start : start + high - low]
        self._at += len(view)
        self.size = max(self.size, self._at)
        return len(view)

    def readinto(self, buffer) -> int:
        """Read from the current byte."""
        view = memoryview(buffer).cast("B")
        count = max(0, min(len(view), self.size - self._at))
        for start, low, high in self._pieces(count):
            page = self._pages.get((self._at + start) // PAGE, bytes(PAGE))
            view[start : start + high - low] = page[low:high]
        self._at += count
        return count

    def piece(self, start: int, stop: int) -> memoryview:
        """Return the bytes from `start` to `stop`."""
        data = bytearray(stop - start)
        self.seek(start)
        self.readinto(data)
        return memoryview(data)

    def pages(self) -> Iterator[tuple[int, bytes]]:
        """Yield what was written, as offsets and bytes."""
        for number, page in sorted(self._pages.items()):
            start = number * PAGE
            if start < self.size:
                yield start, bytes(page[: self.size - start])

    def _pieces(self, count: int) -> Iterator[tuple[int, int, int]]:
        """Split `count` bytes from here at the pages: offset in the data, bounds in the page."""
        done = 0
        while done < count:
            low = (self._at + done) % PAGE
            high = min(PAGE, low + count - done)
            yield done, low, high
            done += high - low
