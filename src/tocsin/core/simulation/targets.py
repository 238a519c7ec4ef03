"""Targets: which targets of the candidate are those of the record.

Ids are keyed digests, and nobody who reads a ledger has the key: what both have in common is told by the addresses.
"""

import hashlib

import msgspec

from tocsin.core.model.notification import Target
from tocsin.core.model.policy import Policy
from tocsin.core.simulation.lookahead import Ahead


def align(policy: Policy, ahead: Ahead, *, keeps_targets: bool, key: bytes) -> Policy:
    """Give the candidate's targets the ids that the record knows them by; new ones get ids of their own.

    keeps_targets: the newest recorded targets are taken instead of the policy's own.
    """
    if keeps_targets:
        return msgspec.structs.replace(policy, targets=ahead.newest.targets if ahead.newest else ())
    known = {(one.channel, one.address): one.id for one in ahead.targets.values() if one.address}
    left = [one for one in ahead.targets.values() if not one.address]
    unknown = [one for one in policy.targets if (one.channel, one.address) not in known]

    def id_of(target: Target) -> str:
        found = known.get((target.channel, target.address))
        if found is not None:
            return found
        # The record's address was erased; where a channel has but one on each side, they are taken for the same.
        there = [one.id for one in left if one.channel == target.channel]
        here = [one for one in unknown if one.channel == target.channel]
        if len(there) == len(here) == 1:
            return there[0]
        named = f"{target.channel}\n{target.address}".encode()
        return hashlib.blake2b(named, key=key, digest_size=8).hexdigest()

    aligned = tuple(msgspec.structs.replace(target, id=id_of(target)) for target in policy.targets)
    return msgspec.structs.replace(policy, targets=aligned)
