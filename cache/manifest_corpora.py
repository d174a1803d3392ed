"""The former home of the readers of corpora; import them from `affekt.cache.manifest`."""

from .manifest import read_emobox, read_s3prl, read_unified

__all__ = ["read_emobox", "read_s3prl", "read_unified"]
