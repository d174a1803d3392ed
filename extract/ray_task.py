"""What a worker of Ray does. Nothing is imported before the path of the driver is left.

Ray puts the folder that a program was started in on the path of its workers, where a user's
``numpy.py`` would be taken for numpy.
"""

from __future__ import annotations

from typing import Any

from ..cache.working_folder import import_nothing_from_here

__all__ = ["run_task"]


def run_task(job: dict[str, Any]) -> dict[str, Any]:
    """Do a share; errors travel as values, since their classes may not unpickle elsewhere."""
    import_nothing_from_here(job["started_in"])
    from ..cache.errors import AffektError
    from .jobs import run_job

    try:
        return run_job(job, lambda clips, seconds: None)
    except AffektError as error:
        told = {"kind": type(error).__name__, "message": str(error), "exit_code": error.exit_code}
        return {"error": {**told, "layers": getattr(error, "layers", [])}}
    except OSError as error:
        return {"error": {"kind": "OSError", "message": str(error), "exit_code": 1}}
