"""What a whole registry asks: quotas per namespace, signatures. The newest policy holds, the older are its history."""

from dataclasses import replace

from adapterhub.errors import PolicyRefused, PromotionRefused
from adapterhub.registry import layout, series
from adapterhub.registry.records import ClaimRecord, PolicyRecord, parse_record
from adapterhub.registry.resolve import numbers, paths, versions
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
    return sum(version.size_bytes for path in _paths_of(store, namespace) for version in versions(store, path))


def claimed_bytes(store: Store, namespace: str) -> int:
    """Return the bytes that publishers under way, and killed ones until a sweep, have claimed in a namespace."""
    keys = [layout.version_key(path, number) for path in _paths_of(store, namespace) for number in numbers(store, path)]
    claims = [f"{key}/{layout.CLAIM_FILE}" for key in keys if not store.exists(f"{key}/{layout.VERSION_FILE}")]
    found = ((key, store.get(key)) for key in claims)
    return sum(parse_record(ClaimRecord, data, key).size_bytes for key, data in found if data is not None)


def require_quota(store: Store, policy: PolicyRecord, path: str, size_bytes: int) -> None:
    """Refuse what would go over its namespace's quota. Raises PolicyRefused.

    Asked before a number is claimed, with the bytes to come, and again after, with none: what every publisher has
    claimed counts, and each has claimed before it asks, so that no two can both take the last room. Two that ask at
    the same instant may both be refused.
    """
    namespace = path.partition("/")[0]
    quota = policy.quotas.get(namespace)
    if quota is None:
        return
    claimed = claimed_bytes(store, namespace)  # before `used`: what appears in between counts twice, not never
    used = used_bytes(store, namespace)
    if used + claimed + size_bytes > quota:
        under_way = f", {claimed:,} more are claimed by uploads under way or abandoned" if claimed else ""
        raise PolicyRefused(f"{path} would bring namespace {namespace} to {used + claimed + size_bytes:,} bytes; its "
                            f"quota is {quota:,} and {used:,} are used{under_way}.",
                            hint=f"Raise it with `adapterhub policy --quota {namespace}=BYTES`, publish elsewhere"
                                 f"{', or see `adapterhub sweep`' if claimed else ''}.")


def _paths_of(store: Store, namespace: str) -> list[str]:
    return [path for path in paths(store) if path.startswith(f"{namespace}/")]
