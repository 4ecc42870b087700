"""What a whole registry asks: quotas per namespace. The newest policy holds, the older are its history."""

from dataclasses import replace

from adapterhub.errors import PolicyRefused, PromotionRefused
from adapterhub.registry import layout, series
from adapterhub.registry.records import PolicyRecord
from adapterhub.registry.resolve import paths, versions
from adapterhub.registry.stores import Store


def read_policy(store: Store) -> PolicyRecord:
    """Return the policy that holds; one that asks nothing where none was set."""
    return series.newest(store, PolicyRecord, layout.POLICY_KEY)[1] or PolicyRecord()


def change_policy(store: Store, record: PolicyRecord, *, at: str, by: str) -> PolicyRecord:
    """Write a policy as the next one. Raises PromotionRefused where somebody changed it at the same instant."""
    changed, number = replace(record, at=at, by=by), series.newest(store, PolicyRecord, layout.POLICY_KEY)[0]
    if not series.append(store, layout.POLICY_KEY, number + 1, changed):
        raise PromotionRefused(f"The policy of {store.place} was changed meanwhile.",
                               hint="See `adapterhub policy`, then try again.")
    return changed


def used_bytes(store: Store, namespace: str) -> int:
    """Return the bytes of all versions of a namespace together, yanked ones too."""
    mine = [path for path in paths(store) if path.startswith(f"{namespace}/")]
    return sum(version.size_bytes for path in mine for version in versions(store, path))


def require_quota(store: Store, policy: PolicyRecord, path: str, size_bytes: int) -> None:
    """Refuse what would go over its namespace's quota. Raises PolicyRefused.

    Looked at before the upload: publishers at the same instant may together go over by what they bring.
    """
    namespace = path.partition("/")[0]
    quota = policy.quotas.get(namespace)
    if quota is None:
        return
    used = used_bytes(store, namespace)
    if used + size_bytes > quota:
        raise PolicyRefused(f"{path} would bring namespace {namespace} to {used + size_bytes:,} bytes; its quota is "
                            f"{quota:,} and {used:,} are used.",
                            hint=f"Raise it with `adapterhub policy --quota {namespace}=BYTES`, or publish elsewhere.")
