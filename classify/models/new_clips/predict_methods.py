"""`predict`, `answer` and `close`, shared by a model and the system of a run."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Never, Self

from ....cache.errors import InputError
from ....cache.manifest import Manifest

if TYPE_CHECKING:
    from ....cache.cache import Cache
    from ...data.predictions import Predictions
    from .answer import Answer
    from .caller_inputs import Given
    from .open_encoders import OpenEncoders
    from .system import System

KNOWN = "clips, cache, text, texts, sampling_rate, root, encoders, device"


def folders(given: str | os.PathLike[str] | Sequence[str | os.PathLike[str]]) -> tuple[Any, ...]:
    """Return the folders of encoders that were given, also where it is one without a list."""
    return (given,) if isinstance(given, str | os.PathLike) else tuple(given)


class Predicts:
    """`predict`, `answer` and `close`, for anything that can act as a `System`.

    Attributes
    ----------
    encoders : tuple of path
        Folders of encoders, for those that came from folders.
    device : str
        ``"auto"``, ``"cpu"``, ``"cuda"`` ...
    """

    encoders: tuple[str | os.PathLike[str], ...] = ()
    device: str = "auto"
    _opened: OpenEncoders | None = None

    def predict(
        self,
        clips: Given = (),
        cache: Cache | None = None,
        *,
        text: str | None = None,
        texts: Sequence[str] | None = None,
        sampling_rate: int | None = None,
        root: str | os.PathLike[str] | None = None,
        encoders: Sequence[str | os.PathLike[str]] = (),
        device: str | None = None,
        **unknown: Never,
    ) -> Predictions:
        """Predict clips: stored, from files, or from memory.

        Encoders are opened by the first call and kept until `close`. Several threads may call.
        Without a cache nothing is written to disk.

        Parameters
        ----------
        clips : Manifest, path, bytes, file object, waveform, or a list of these
            A manifest's labels are not looked at. A path names an audio file, a folder of them or
            a manifest; its name is the id. A waveform is ``(samples,)`` or
            ``(samples, channels)`` in numpy or torch, as floats of full scale 1, int16 or int32.
        cache : Cache, optional
            Where the embeddings of a manifest, of files or of texts are, or go to.
        text : str, optional
            What is said in the one recording, or a clip of its own.
        texts : list of str, optional
            One for each recording, or clips of their own.
        sampling_rate : int, optional
            Of waveforms, in Hz.
        root : path, optional
            Of a manifest's paths.
        encoders, device
            In place of those that it was loaded with.

        Returns
        -------
        Predictions
            One row per clip, one column per label of the task.

        Raises
        ------
        TypeError
            Clips or texts of another type; the message says what is taken.
        InputError
            A clip that cannot be embedded, with its reason; see `answer` for the others' answers.
        SpecError, CanaryError
            The encoder, or the cache, computes differently.
        MissingError
            A model was given a manifest and a cache that does not hold it.

        Examples
        --------
        >>> model.predict(samples, sampling_rate=16000).label  # doctest: +SKIP
        ['positive']
        >>> model.predict(texts=["what a day", "oh no"]).proba.shape  # doctest: +SKIP
        (2, 3)
        """
        if isinstance(clips, Manifest) and not unknown and text is texts is root is None:
            stored = self._predict_stored(clips, cache)
            if stored is not None:
                return stored
        return self.answer(
            clips,
            cache,
            text=text,
            texts=texts,
            sampling_rate=sampling_rate,
            root=root,
            encoders=encoders,
            device=device,
            **unknown,
        ).complete()

    def answer(
        self,
        clips: Given = (),
        cache: Cache | None = None,
        *,
        text: str | None = None,
        texts: Sequence[str] | None = None,
        sampling_rate: int | None = None,
        root: str | os.PathLike[str] | None = None,
        encoders: Sequence[str | os.PathLike[str]] = (),
        device: str | None = None,
        **unknown: Never,
    ) -> Answer:
        """Predict as `predict` does; a clip that cannot be embedded is a failure in the answer.

        Returns
        -------
        Answer
            Predictions, those of each member, failures with their reasons, remarks.
        """
        from .caller_inputs import read_given, refuse_unknown, to_raw

        refuse_unknown(unknown, KNOWN)
        given = read_given(clips, text=text, texts=texts, sampling_rate=sampling_rate, root=root)
        system = self._as_system()
        options: dict[str, Any] = {
            "encoders": folders(encoders) or self.encoders,
            "device": device or self.device,
        }
        if cache is not None:
            if isinstance(given, Manifest):
                return system.predict(given, cache, **options)
            raise TypeError("a cache holds files and texts; leave it out for clips in memory")
        if not isinstance(given, Manifest):
            return system.answer(given, **options)
        try:
            return system.answer(to_raw(given), **options)
        except InputError as error:
            error.add_note("Or predict(clips, cache), with a cache that holds their embeddings")
            raise

    def close(self) -> None:
        """Release the encoders; a later call opens them again."""
        if self._opened is not None:
            self._opened.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _encoders(self) -> OpenEncoders:
        if self._opened is None:
            from .open_encoders import OpenEncoders

            self._opened = OpenEncoders()
        return self._opened

    def _as_system(self) -> System:
        raise NotImplementedError

    def _predict_stored(self, clips: Manifest, cache: Cache | None) -> Predictions | None:
        """Predict from stored features alone, where a manifest calls for that."""
        return None
