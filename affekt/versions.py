"""The versions of installed packages."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version


def version_of(package: str) -> str:
    """Return the version of a package; blank if it is not installed.

    Examples
    --------
    >>> version_of("numpy") > "", version_of("no-such-package")
    (True, '')
    """
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
