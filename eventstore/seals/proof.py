"""Proofs as files: that one event is in the sealed log, or that one checkpoint goes on where another ended.

Checked with nothing but the file and a public key. Pure.
"""

from base64 import b64decode, b64encode
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Literal

import msgspec

from eventstore.kernel.counted import counted
from eventstore.seals.checkpoint import LEAF_FORMAT, Signed, read_checkpoint
from eventstore.seals.errors import SealError
from eventstore.seals.keyring import Keyring
from eventstore.seals.note import NoteError, VerifierKey
from eventstore.seals.paths import is_consistent, is_included
from eventstore.seals.tree import leaf_hash


class EventProof(msgspec.Struct, frozen=True, kw_only=True, tag_field="proof", tag="event"):
    """That an event was in the log when a checkpoint was signed."""

    leaf_format: int
    leaf: str  #: the event, as docs/seals.md describes it
    bucket: int
    index: int  #: its place in the tree of the bucket
    path: list[str]  #: base64, from the leaf to the root
    checkpoint: str
    keys: list[str]  #: the introductions of the keys of the log


class ConsistencyProof(msgspec.Struct, frozen=True, kw_only=True, tag_field="proof", tag="consistency"):
    """That nothing was changed, put in or taken away between two checkpoints: the log only grew."""

    old: str
    new: str
    paths: list[list[str]]  #: base64, a path a bucket
    keys: list[str]


Proof = EventProof | ConsistencyProof


class Proven(msgspec.Struct, frozen=True, kw_only=True):
    """What a proof comes to."""

    verdict: Literal["proven", "refuted", "unknown"]
    reason: str  #: why not; else what it proves
    event: list[Any] | None = None  #: the nine values
    checkpoint: int | None = None
    sealed_at: datetime | None = None
    signer: str | None = None


def read_proof(content: bytes) -> Proof:
    """Raises SealError for what is no proof."""
    try:
        return msgspec.json.decode(content, type=EventProof | ConsistencyProof)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise SealError(f"it is no proof as `eventstore prove` makes it: {error}") from None


def written(proof: Proof) -> bytes:
    return msgspec.json.format(msgspec.json.encode(proof), indent=1) + b"\n"


def check_proof(proof: Proof, trusted: Sequence[VerifierKey]) -> Proven:
    """Whether the proof holds, for whoever trusts these keys."""
    ring = Keyring(trusted, proof.keys)
    try:
        if isinstance(proof, EventProof):
            return _check_event(proof, ring)
        return _check_growth(proof, ring)
    except (NoteError, ValueError, IndexError) as error:
        return Proven(verdict="refuted", reason=f"it makes no sense: {error}")


def encoded(path: Iterable[bytes]) -> list[str]:
    return [b64encode(step).decode() for step in path]


def _check_event(proof: EventProof, ring: Keyring) -> Proven:
    signed = read_checkpoint(proof.checkpoint)
    made = signed.checkpoint
    if not proof.leaf_format == made.leaf_format == LEAF_FORMAT or proof.bucket < 0:
        return Proven(verdict="unknown", reason="its form is not known to this release: use a newer one")
    head = made.heads[proof.bucket]
    leaf = leaf_hash(proof.leaf.encode())
    if not is_included(leaf, proof.index, head.size, _decoded(proof.path), head.root):
        return Proven(verdict="refuted", reason="the event does not lead to the root that was signed")
    event = msgspec.json.decode(proof.leaf)
    if not isinstance(event, list) or len(event) != 9:
        return Proven(verdict="refuted", reason="what was sealed there is no event")
    return _signed(
        [signed],
        ring,
        f"version {event[2]} of order {event[1]} was in the log when checkpoint {made.number} was signed",
        event,
    )


def _check_growth(proof: ConsistencyProof, ring: Keyring) -> Proven:
    old, new = read_checkpoint(proof.old), read_checkpoint(proof.new)
    before, after = old.checkpoint, new.checkpoint
    if (
        before.log != after.log
        or len(before.heads) != len(after.heads)
        or len(proof.paths) != len(after.heads)
    ):
        return Proven(verdict="refuted", reason="the two checkpoints are not of one log")
    for bucket, path in enumerate(proof.paths):
        first, second = before.heads[bucket], after.heads[bucket]
        if not is_consistent(first.size, first.root, second.size, second.root, _decoded(path)):
            return Proven(
                verdict="refuted",
                reason=f"bucket {bucket} at checkpoint {after.number} does not begin with what it was at "
                f"checkpoint {before.number}",
            )
    return _signed(
        [old, new],
        ring,
        f"from checkpoint {before.number} ({counted(before.size, 'event')}) to {after.number} "
        f"({counted(after.size, 'event')}) "
        "the log only grew: nothing was changed, put in or taken away",
    )


def _signed(
    checkpoints: Sequence[Signed], ring: Keyring, what: str, event: list[Any] | None = None
) -> Proven:
    made = checkpoints[-1].checkpoint
    signers = [ring.signer(signed.note, signed.checkpoint.number) for signed in checkpoints]
    if not ring.anchors:
        verdict, reason = "unknown", "no public key is trusted here: give --key, as its owner prints it"
    elif None in signers:
        verdict, reason = "refuted", "a checkpoint is not signed by a key that is trusted, in its turn"
    else:
        verdict, reason = "proven", what
    return Proven(
        verdict=verdict,  # type: ignore[arg-type]
        reason=reason,
        event=event,
        checkpoint=made.number,
        sealed_at=made.time,
        signer=str(signers[-1]) if signers[-1] else None,
    )


def _decoded(path: Iterable[str]) -> list[bytes]:
    return [b64decode(step, validate=True) for step in path]
