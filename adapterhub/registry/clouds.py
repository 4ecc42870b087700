"""Buckets: S3 and what speaks like it, GCS, Azure. Credentials come from each cloud's usual places."""

import importlib.util
import os
from collections.abc import Mapping
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

from obstore.store import ObjectStore, S3Store, from_url

CLOUD_SCHEMES = ("s3", "s3a", "gs", "az", "abfs", "abfss")
_BACKOFF: Any = {"init_backoff": timedelta(milliseconds=200), "max_backoff": timedelta(seconds=5), "base": 2}
RETRIES: Any = {"max_retries": 5, "retry_timeout": timedelta(seconds=60), "backoff": _BACKOFF}
"""A short outage is waited for; a lost network is told within a minute instead of three."""
CLIENT: Any = {"connect_timeout": "5s", "timeout": "300s"}
"""The timeout is for one whole request: 100 MB at 3 Mbit/s."""
_AWS_KEYS = ("AWS_ACCESS_KEY_ID", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
             "AWS_CONTAINER_CREDENTIALS_FULL_URI")


def open_cloud(address: str, environment: Mapping[str, str] = os.environ) -> ObjectStore:
    """Open a bucket by its address; no request is sent. Raises obstore's errors for settings that do not do."""
    client = _client(environment)
    if urlsplit(address).scheme in ("s3", "s3a") and _needs_aws_profile(environment):
        from obstore.auth.boto3 import Boto3CredentialProvider  # optional: only where boto3 is installed

        # why one cast by Any: obstore types the provider by a protocol that its own class meets only at run time
        provider: Any = Boto3CredentialProvider()
        return S3Store.from_url(address, retry_config=RETRIES, client_options=client, credential_provider=provider)
    return from_url(address, retry_config=RETRIES, client_options=client)


def _client(environment: Mapping[str, str]) -> Any:
    """A plain-text endpoint (a MinIO on this machine) is allowed where the environment names one."""
    endpoint = environment.get("AWS_ENDPOINT_URL") or environment.get("AWS_ENDPOINT") or ""
    return {**CLIENT, "allow_http": True} if endpoint.startswith("http://") else CLIENT


def _needs_aws_profile(environment: Mapping[str, str]) -> bool:
    """Say whether only boto3 finds the credentials: a profile, a shared file or a single sign-on."""
    if any(environment.get(key) for key in _AWS_KEYS) or importlib.util.find_spec("boto3") is None:
        return False
    import boto3  # optional and slow to import

    return boto3.Session().get_credentials() is not None
