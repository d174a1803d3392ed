"""The error of a single clip: it cannot be embedded, for a named reason.

Everything that concerns a whole run (unknown encoder, wrong option, spec differs) is an
`affekt.cache` error. An `Unusable` clip is one quarantined row: the run continues.
"""

from __future__ import annotations

from ..cache.errors import AffektError, one_line

#: Every reason code, and what it says about the clip.
CODES = {
    "missing": "the file does not exist",
    "denied": "the file may not be read",
    "outside": "the path leaves the root that was given",
    "not_a_file": "a folder, device, FIFO or socket",
    "bad_path": "a path that cannot be followed: too long, a loop of links, or a NUL in it",
    "changed": "the content has changed since it was hashed",
    "too_large": "a file too large to be read whole",
    "empty": "no bytes, or no samples",
    "not_audio": (
        "not an audio format that affekt reads, or a sparse file of which hardly any was written"
    ),
    "truncated": "the header promises more audio than the file holds, with the policy 'refuse'",
    "decode_error": "parts of the audio cannot be decoded, with the policy 'refuse', or none can",
    "decoder_crash": "the decoder's process died on this file",
    "implausible_header": "the header claims a length or rate that cannot be true",
    "bad_segment": "start and end are not a segment of this audio",
    "too_short": "shorter than the encoder can embed, or than min_seconds",
    "too_long": "longer than max_seconds, with the policy 'fail'",
    "silent": "below -80 dBFS, where silence is refused",
    "non_finite_input": "a sample is NaN or infinite",
    "empty_text": "no character that a tokenizer could use",
    "bad_text": "a NUL or a lone surrogate in the text",
    "out_of_memory": "does not fit into memory, even on its own",
    "non_finite_output": "the encoder returned NaN or infinity",
    "out_of_range": "samples, or values for the stored type, too large",
    "encoder_error": "the encoder refused this one input",
}
#: what to do about a clip, for a caller who may choose how it is embedded
ADVICE = {
    "too_long": "choose the policy truncate or chunk, or a larger max_seconds; or cut it into "
    "segments (start, end)"
}


class Unusable(AffektError, ValueError):
    """One clip that cannot be embedded.

    Parameters
    ----------
    code : str
        One of `CODES`.
    message : str, optional
        What was found and what was expected; the meaning of the code by default. The text of the
        error ends in the advice for the code.

    Examples
    --------
    >>> error = Unusable("too_short", "399 samples; the encoder needs 400")
    >>> error.code, str(error)
    ('too_short', '399 samples; the encoder needs 400')
    """

    def __init__(self, code: str, message: str = "") -> None:
        if code not in CODES:
            raise ValueError(f"unknown reason code {code!r}; known: {', '.join(CODES)}")
        self.code = code
        self.message = one_line(message or CODES[code])  # it may name a file
        super().__init__(self.message)

    def __str__(self) -> str:
        advice = ADVICE.get(self.code)
        return f"{self.message}: {advice}" if advice else self.message

    def __reduce__(self):
        return type(self), (self.code, self.message)


def stopped(why: str) -> AffektError:
    """Return the error that ends a run without blaming a clip.

    Examples
    --------
    >>> str(stopped("worker 1 ended with 3"))
    'worker 1 ended with 3; what was stored is kept: run the same command again to continue'
    """
    return AffektError(f"{why}; what was stored is kept: run the same command again to continue")


def died(what: str, status: int) -> AffektError:
    """Return the error for a child process that ended before its time."""
    if status == -9:
        return stopped(
            f"{what} was killed, perhaps because memory is short (fewer --workers need less)"
        )
    return stopped(f"{what} ended with {status}")
