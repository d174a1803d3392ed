"""The sha256 of a large file, hashed once: a memo by stat saves reading gigabytes at every start.

One small file per entry, whose name is made of the file's path, size, inode and the times of its
last change (ctime too: mtime can be set back) and whose content is the digest; so two processes can
write at the same time. The memo is only a memo: it may be deleted, and is skipped for a file that
changed within the last two seconds.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import time
from pathlib import Path

from ....cache.files.atomic_writes import write_whole
from ....cache.files.reading import file_sha256, refuse_hollow

_SECONDS_UNTIL_TRUSTED = 2.0


def memo_folder() -> Path:
    """Return where digests and converted checkpoints are kept: ``$XDG_CACHE_HOME/affekt``."""
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "affekt"


def fingerprint(path: str | os.PathLike[str]) -> str:
    """Hash a file, or remember its hash.

    Returns
    -------
    str
        sha256 of its bytes, 64 hex digits.

    Raises
    ------
    OSError
        If the file cannot be read.
    """
    path = Path(path).resolve()
    refuse_hollow(path)
    stat = path.stat()
    parts = (path, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino)
    identity = "\0".join(map(str, parts)).encode("utf-8", "surrogateescape")
    memo = memo_folder() / "sha256" / hashlib.sha256(identity).hexdigest()[:40]
    trusted = abs(time.time() - stat.st_mtime) > _SECONDS_UNTIL_TRUSTED
    if trusted:
        with contextlib.suppress(OSError, UnicodeDecodeError):
            known = memo.read_text(encoding="ascii")
            if re.fullmatch(r"[0-9a-f]{64}", known):
                return known
    digest = file_sha256(path)
    if trusted:
        # without a writable home it only takes longer
        with contextlib.suppress(OSError):
            write_whole(memo, digest)
    return digest
