"""The errors of huggingface-hub and of its HTTP library as one sentence each: token, organisation, network, offline."""

from collections.abc import Iterator
from contextlib import contextmanager

import httpx2
from huggingface_hub import get_token
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled

from adapterhub.errors import StorageError
from adapterhub.files import storage_error

_UNFINISHED = "what was not finished is not visible"


@contextmanager
def hub_errors(place: str) -> Iterator[None]:
    """Turn the client's errors of this block into a StorageError that names `place`, an `hf://` address."""
    try:
        yield
    except (httpx2.HTTPError, OSError, ValueError, RuntimeError) as error:
        raise _told(place, error) from error


def no_organisation(place: str) -> StorageError:
    """Return the sentence for a name that nobody on the Hub has."""
    return StorageError(f"There is no organisation or user {place.removeprefix('hf://')!r} on the Hub.",
                        hint="Correct the address given with --registry; `hf auth whoami` lists your organisations.")


def _told(place: str, error: BaseException) -> StorageError:
    """Sort what the client raised into: an answer of the Hub, offline, no network, this disk, anything else."""
    if isinstance(error, HfHubHTTPError):
        return _answered(place, error)
    if isinstance(error, LocalEntryNotFoundError | RuntimeError) and error.__cause__ is not None:
        return _told(place, error.__cause__)  # neither in the client's cache nor to be had; an upload in a thread
    if isinstance(error, OfflineModeIsEnabled):
        return StorageError(f"{place} is not asked, because HF_HUB_OFFLINE is set.",
                            hint="Unset it, or use another registry: a folder needs no network.")
    if isinstance(error, httpx2.TransportError | ConnectionError):
        return StorageError(f"{place} cannot be reached: the connection failed ({_one_line(str(error))}).",
                            hint=f"Check the network and HF_ENDPOINT, then run the same command again; {_UNFINISHED}.")
    if isinstance(error, OSError) and error.errno is not None:
        return storage_error(f"The cache of {place}", error)
    return StorageError(f"{place} cannot be used: {_one_line(str(error))}.",
                        hint=f"Check the adapter's card and the address, then run the same command again; "
                             f"{_UNFINISHED}.")


def _answered(place: str, error: HfHubHTTPError) -> StorageError:
    status, said = error.response.status_code, _one_line(error.server_message or str(error))
    organisation = place.removeprefix("hf://")
    if status == 401 and get_token() is None:
        return StorageError(f"{place} asks for a token, and none was found.",
                            hint=f"Run `hf auth login`, or set HF_TOKEN to a token that may write to {organisation}.")
    if status == 401:
        return StorageError(f"{place} refused the token that was found ({said}).",
                            hint="Make a new one in the Hub's settings, then run `hf auth login` or set HF_TOKEN.")
    if status == 403:
        return StorageError(f"{place} may not be used with this token, or there is no such organisation ({said}).",
                            hint=f"`hf auth whoami` lists your organisations; the token must have the right to write "
                                 f"to {organisation}.")
    if status == 429:
        return StorageError(f"{place} was asked too often ({said}).", hint="Wait some minutes, then run it again.")
    return StorageError(f"{place} answered with status {status} ({said}).",
                        hint=f"Run the same command again; {_UNFINISHED}.")


def _one_line(text: str) -> str:
    return " ".join(text.split()).rstrip(". :")[:300] or "no reason given"
