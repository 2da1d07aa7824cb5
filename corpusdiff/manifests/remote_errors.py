"""What the errors of fsspec's clients mean: each has its own for the same answers of a server."""

from __future__ import annotations

import socket
from collections.abc import Iterator

#: Answers that another try may change.
_PASSING = frozenset({408, 409, 425, 429})

#: S3's words for credentials that are wrong as a whole: no file is to blame.
_CREDENTIALS = frozenset(
    {"ExpiredToken", "InvalidAccessKeyId", "InvalidToken", "RequestTimeTooSkewed", "SignatureDoesNotMatch"}
    | {"TokenRefreshRequired", "InvalidSecurity", "AuthorizationHeaderMalformed"}
)


class Passing(OSError):
    """Trouble on the way that may pass."""


def meaning(error: Exception, url: str) -> OSError:
    """What an error of a client means for the file."""
    status, code = status_of(error)
    unsaid = isinstance(error, FileNotFoundError) and error.__cause__ is not None
    said = f"{error.__cause__ if unsaid else error}".strip().splitlines()
    told = f"{url}: {(said or [type(error).__name__])[0][:300]}"
    if code in _CREDENTIALS:
        return OSError(f"{told} ({code}): look at the credentials and the clock of this machine")
    if "NoCredentials" in type(error).__name__ or "CredentialRetrieval" in type(error).__name__:
        return OSError(f"{told}: give credentials as the store's own tools take them, or AWS_SKIP_SIGNATURE=true")
    meant: OSError = Passing(told)
    # with a cause but no status it is fsspec's word for a server of the web that did not answer
    if status in {404, 410} or (status is None and isinstance(error, FileNotFoundError) and not unsaid):
        meant = FileNotFoundError(f"there is no file {url}")
    elif status in {401, 403} or (status is None and _is_refusal(error)):
        meant = PermissionError(f"no permission to read {url}")
    elif _is_no_name(error):
        meant = FileNotFoundError(f"{url} is not a name that the store can have")
    elif status is not None and 400 <= status < 500 and status not in _PASSING:
        meant = OSError(told)
    return meant


def _is_refusal(error: Exception) -> bool:
    return isinstance(error, PermissionError) or (isinstance(error, OSError) and str(error).startswith("Forbidden"))


def _is_no_name(error: Exception) -> bool:
    names = {kind.__name__ for kind in type(error).__mro__}
    return bool(names & {"InvalidURL", "ParamValidationError"}) or type(error) is ValueError


def is_no_host(error: BaseException) -> bool:
    """Whether an error says that there is no host of this name."""
    return any(isinstance(link, socket.gaierror) and link.errno == socket.EAI_NONAME for link in _chain(error))


def status_of(error: BaseException) -> tuple[int | None, str]:
    """HTTP status and the store's own code behind an error, as far as it knows them."""
    status, code = None, ""
    links = list(_chain(error))
    if any(type(link).__module__ == "aiohttp.http_exceptions" for link in links):
        return None, ""  # no answer of HTTP at all; aiohttp calls it 400
    for link in links:
        response = getattr(link, "response", None)
        if isinstance(response, dict):  # botocore's
            code = code or str(response.get("Error", {}).get("Code", ""))
            status = status or response.get("ResponseMetadata", {}).get("HTTPStatusCode")
        # the `code` of an aiohttp error is not the server's: it stands for a broken answer too
        names = ("code",) if type(link).__module__.startswith("gcsfs") else ("status", "status_code")
        for name in names:
            value = getattr(link, name, None)
            if status is None and isinstance(value, int) and 100 <= value < 600:
                status = value
    return status, code


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    for _ in range(8):
        if error is None:
            return
        yield error
        error = error.__cause__ or getattr(error, "os_error", None) or error.__context__
