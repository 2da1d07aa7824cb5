"""Errors. Each says what was found, what was expected and what to do."""

from __future__ import annotations


class CorpusdiffError(Exception):
    """Base of every error that this package raises on purpose."""

    exit_code = 1


class UsageError(CorpusdiffError):
    """The request cannot be carried out as given (command line, source, job, OUT)."""

    exit_code = 2


class JobError(UsageError):
    """A job file or a ``--set`` is wrong; the message names the key, the file and the remedy."""


class ManifestError(UsageError):
    """A manifest or source cannot be read; the message names the place."""


class ParameterError(ValueError):
    """A stage parameter is out of its range.

    Parameters
    ----------
    name : the parameter's name
    problem : what was got and what was expected, with the remedy
    """

    def __init__(self, name: str, problem: str) -> None:
        super().__init__(f"{name}: {problem}")
        self.name = name
        self.problem = problem

    def __reduce__(self) -> tuple[type[ParameterError], tuple[str, str]]:
        return ParameterError, (self.name, self.problem)


class TrackError(CorpusdiffError):
    """One track cannot be processed. It becomes a ``failed`` row and the rest go on.

    Parameters
    ----------
    reason : short stable slug by which failures are grouped: ``decode``, ``empty``, ``missing``,
        ``unsupported``, ``encode``, ``crash``, ``stalled``, ``cpu``, ``memory``, ``too-long``, ``bug``
    message : what a person needs to know
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason

    def __reduce__(self) -> tuple[type[TrackError], tuple[str, str]]:
        return TrackError, (self.reason, str(self))


class StoreError(CorpusdiffError):
    """The corpus on disk is damaged, unwritable or not what the plan says."""


class StoreUnreachable(CorpusdiffError, ConnectionError):
    """An object store does not answer, or only with errors, for longer than requests are tried again.

    No track or shard is to blame: runners treat it as what it is, an I/O error, and try the shard again.
    """


class Interrupted(CorpusdiffError):
    """The user stopped the run; the same command resumes it."""

    exit_code = 130
