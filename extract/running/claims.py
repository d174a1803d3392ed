"""Which contents are to be computed: those that are not stored, each once."""

from __future__ import annotations

import threading

from ...cache.identity.content_digests import row_key
from ...cache.rows.index import Table


class Claims:
    """What is stored, as it was at the start, and what was claimed since; threads may share it.

    Parameters
    ----------
    stored : Table
        The rows of a space.
    space_key, modality : str
        Of the space.

    Examples
    --------
    >>> claims = Claims(Table.of({}), "0" * 64, "text")
    >>> claims.claim("ab"), claims.claim("ab")
    (True, False)
    """

    def __init__(self, stored: Table, space_key: str, modality: str) -> None:
        self.stored, self.space_key, self.modality = stored, space_key, modality
        self._claimed: set[str] = set()
        self._lock = threading.Lock()

    def key(self, digest: str) -> str:
        """Return the row key of a content."""
        return row_key(self.space_key, self.modality, digest)

    def claim(self, digest: str) -> bool:
        """Whether this content is to be computed now."""
        return not self.is_stored(digest) and self.claim_missing(digest)

    def claim_missing(self, digest: str) -> bool:
        """Whether a content, which is not stored, is claimed for the first time."""
        with self._lock:
            known = digest in self._claimed
            self._claimed.add(digest)
            return not known

    def is_stored(self, digest: str) -> bool:
        """Whether this content was stored at the start."""
        return bool(len(self.stored.raw)) and bool(self.stored.find([self.key(digest)])[0][0] >= 0)
