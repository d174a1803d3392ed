"""A share of an extraction as plain values, so that another process can do it."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from ...cache.cache import Cache
from ...cache.errors import AffektError, CanaryError, InputError
from ...cache.manifest import Manifest
from ..encoder import Encoder
from .extraction import Extraction, Failure
from .in_process import embed_misses
from .progress import Report

__all__ = ["add", "make_jobs", "reraise", "run_job"]

_COLUMNS = ("id", "path", "start", "end", "text")


def make_jobs(
    clips: Manifest, positions: np.ndarray, encoder: Encoder, done: Extraction, count: int
) -> list[dict[str, Any]]:
    """Deal clips out to `count` jobs; rows of one file, and equal texts, go to one."""
    column = clips["path" if encoder.modality == "audio" else "text"]
    shares: list[list[int]] = [[] for _ in range(count)]
    order: dict[str, int] = {}
    for i in positions.tolist():
        shares[order.setdefault(str(column[i]), len(order)) % count].append(i)
    common = {
        "cache": str(done.space.cache.path),
        "root": str(clips.root),
        "allow_outside": clips.allow_outside,
        "store_dtype": done.space.spec.store_dtype,
        "spec": done.space.key,
        "threads": max(1, (os.cpu_count() or 1) // count),
    }
    devices = _devices(encoder, count)
    return [
        {
            **common,
            "encoder": {**(encoder.arguments or {}), "device": devices[number]},
            "rows": [_row(clips, i) for i in share],
        }
        for number, share in enumerate(shares)
        if share
    ]


def run_job(job: dict[str, Any], report: Report) -> dict[str, Any]:
    """Do a share in this process; the answer is for `add`."""
    clips = Manifest.from_rows(job["rows"], job["root"], allow_outside=job["allow_outside"])
    encoder = Encoder(**job["encoder"])
    space = Cache(job["cache"]).create(encoder.spec.with_store_dtype(job["store_dtype"]))
    if space.key != job["spec"]:
        raise InputError(f"{encoder.name} is another encoder here: its files or options differ")
    done = Extraction(space)
    embed_misses(clips, list(range(len(clips))), encoder, done, report, job["threads"])
    return done.as_dict()


def add(done: Extraction, told: dict[str, Any]) -> None:
    """Add what a share did to the whole."""
    done.hits += told["hits"]
    done.computed += told["computed"]
    done.repeated += told["repeated"]
    done.audio_seconds += told["audio_seconds"]
    done.failures += [Failure(**one) for one in told["quarantined"]]
    for flag, ids in told["flags"].items():
        done.flags.setdefault(flag, []).extend(ids)


def reraise(error: dict[str, Any]) -> AffektError:
    """Make the error that stopped a share into one of this process."""
    if error["kind"] == "CanaryError":
        return CanaryError(error["message"], error["layers"])
    kind = InputError if error["exit_code"] == InputError.exit_code else AffektError
    return kind(error["message"])


def _row(clips: Manifest, position: int) -> dict[str, Any]:
    clip = clips.clip(position)
    row = {name: getattr(clip, name) for name in _COLUMNS}
    for name in ("start", "end"):  # a time that is none has no number in JSON
        if row[name] is not None and not math.isfinite(row[name]):
            row[name] = "nan"
    return row


def _devices(encoder: Encoder, count: int) -> Sequence[str]:
    device = str(encoder.backend.device)
    if device != "cuda":
        return [device] * count
    import torch

    return [f"cuda:{number % torch.cuda.device_count()}" for number in range(count)]
