"""The errors of obstore and of the system as one sentence each: credentials, bucket, network, disk."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager

from obstore import exceptions

from adapterhub.errors import StorageError
from adapterhub.files import storage_error

_runtime_owner: list[int] = []
"""The process that obstore started its threads in, at its first use; they do not survive a fork."""
_OS_ERROR = re.compile(r"\(os error (\d+)\)")
_NO_BUCKET = ("NoSuchBucket", "ContainerNotFound", "bucket does not exist")
_NO_CREDENTIALS = ("InvalidAccessKeyId", "SignatureDoesNotMatch", "AccessDenied", "ExpiredToken", "InvalidToken",
                   "AuthenticationFailed", "no credentials", "NoCredentials", "169.254.169.254",
                   "metadata.google", "/latest/api/token", "/latest/meta-data")
"""The last four are where a cloud's own machine would find its credentials; asked only where nothing else gave any."""
_NO_NETWORK = ("error sending request", "error decoding response", "request or response body error", "connection",
               "timed out", "dns error")
_SERVER_SAID = re.compile(r"<Message>([^<]{1,200})</Message>")


@contextmanager
def foreign_errors(place: str) -> Iterator[None]:
    """Turn obstore's and the system's errors of this block into a StorageError that names `place`."""
    require_own_runtime(place)
    try:
        yield
    except OSError as error:
        if isinstance(error, FileNotFoundError) and is_missing_bucket(error):
            raise _told(place, str(error)) from error
        raise storage_error(place, _with_number(error)) from error
    except (exceptions.PermissionDeniedError, exceptions.UnauthenticatedError) as error:
        raise _refused(place, _said(error)) from error
    except (exceptions.BaseError, ValueError) as error:
        if number := _os_error_number(error):
            raise storage_error(place, OSError(number, os.strerror(number))) from error
        raise _told(place, str(error) or type(error).__name__) from error


def is_missing_bucket(error: Exception) -> bool:
    """Say whether the server missed the bucket itself, where an absent object is told in the same class."""
    return any(sign in str(error) for sign in _NO_BUCKET)


def require_own_runtime(place: str) -> None:
    """Refuse what obstore would wait on for ever: its threads are in the process that this one was forked from."""
    if not _runtime_owner:
        _runtime_owner.append(os.getpid())
    if _runtime_owner[0] != os.getpid():
        raise StorageError(f"{place} cannot be used here: this process was forked after a registry was in use.",
                           hint="Start processes with the method 'spawn', or fork before the first use.")


def _told(place: str, text: str) -> StorageError:
    """Sort a store's words into: no bucket, no credentials, no network, anything else."""
    if any(sign in text for sign in _NO_BUCKET):
        return StorageError(f"The bucket of {place} does not exist.",
                            hint="Create it, or correct the address given with --registry.")
    if any(sign.casefold() in text.casefold() for sign in _NO_CREDENTIALS):
        return _refused(place, text)
    if any(sign in text.casefold() for sign in _NO_NETWORK):
        return StorageError(f"{place} cannot be reached: the connection failed ({_first_line(text)}).",
                            hint="Check the network and the endpoint, then run the same command again; "
                                 "what was not finished is not visible.")
    return StorageError(f"{place} cannot be used: {_first_line(text)}.",
                        hint="Check the address, the account's settings and the network.")


def _refused(place: str, text: str) -> StorageError:
    return StorageError(f"{place} refused the credentials, or none were found ({_first_line(text)}).",
                        hint="Set the cloud's usual variables (AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, "
                             "GOOGLE_APPLICATION_CREDENTIALS, AZURE_STORAGE_ACCOUNT_NAME and _KEY) and check the "
                             "account's rights on that place.")


def _said(error: Exception) -> str:
    found = _SERVER_SAID.search(str(error))
    return found.group(1) if found else str(error)


def _with_number(error: OSError) -> OSError:
    """Find the number where obstore raises PermissionError and the like without one: in its text."""
    number = error.errno or _os_error_number(error)
    return OSError(number, os.strerror(number)) if number else error


def _os_error_number(error: Exception) -> int | None:
    found = _OS_ERROR.search(str(error))
    return int(found.group(1)) if found else None


def _first_line(text: str) -> str:
    return (text.splitlines() or [""])[0].rstrip(". ")[:300]
