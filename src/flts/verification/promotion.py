"""The promotion: the chain of the log, the entry of this run, and everything that is derived from both."""

from __future__ import annotations

from flts.contracts import layout
from flts.promotion import relay
from flts.promotion.log import decision_of
from flts.verification import chain, tracking
from flts.verification.claims import FALSE, TRUE, Check, Found, SectionChecks, absent, recorded, same
from flts.verification.evidence import RunEvidence
from flts.verification.sealed import changed_entry


def promotion(evidence: RunEvidence, expected_head: str | None = None) -> SectionChecks:
    """Claims about the promotion log. expected_head: the digest of its newest entry as somebody wrote it down."""
    scope = evidence.scope
    log = (layout.log(scope),)
    pointers = {
        "root": layout.root_pointer(),
        "scope": layout.scope_pointer(scope),
        "config": layout.config_pointer(scope, evidence.config_hash),
    }
    checks = [
        Check("promotion.log", "Every entry of the promotion log names the one before it", _log, log),
        Check("promotion.seen", "The log still has the newest entry that the judge of this run saw", _seen),
        chain.witness(evidence),
        tracking.witness(evidence),
        Check(
            "promotion.head", "The newest entry of the log is the expected one", lambda e: _head(e, expected_head), log
        ),
        Check("promotion.entry", "The log entry of this run says what its decision says", _entry),
        Check("promotion.recorded", "The run that promoted has its entry in the log", _promoted),
        *(_pointer(name, key) for name, key in pointers.items() if name != "root" or scope == "global"),
    ]
    return SectionChecks("promotion", "Promotion", checks, f"--expect-head {expected_head}" if expected_head else "")


def _log(evidence: RunEvidence) -> Found:
    """The chain of digests, and for its newest entry, which nothing follows, what the pointers name."""
    log = evidence.log
    if log.newest is None:
        return absent("nothing was ever promoted in this scope")
    named = changed_entry(evidence, log, log.newest)
    if named is not None:
        who, expected = next(iter(named.items()))
        key = layout.log_entry(log.newest.scope, log.newest.number)
        return Found(FALSE, expected, log.head, f"{key} is not the entry that {who} names; {layout.restore(key)}")
    return recorded(len(log.entries))


def _seen(evidence: RunEvidence) -> Found:
    judged, log = evidence.judged, evidence.log
    if judged is None or judged.promotion is None or judged.entry_sha256 is None:
        return absent("no judge of this run recorded an entry of the log")
    found = log.digest(judged.promotion) if judged.promotion <= len(log.entries) else None
    key = layout.log_entry(judged.scope, judged.promotion)
    return same(judged.entry_sha256, found, f"{key} is not the entry that {evidence.part('judge')} names")


def _head(evidence: RunEvidence, expected: str | None) -> Found:
    head = evidence.log.head
    if expected is not None:
        return same(expected, head, "the log was shortened, replaced or continued since this digest was written down")
    return recorded(head) if head else absent("nothing was ever promoted in this scope")


def _entry(evidence: RunEvidence) -> Found:
    entry = evidence.entry
    if entry is None:
        return absent("this run promoted nothing")
    decision_of(evidence, entry)
    return Found(TRUE, entry.decision_sha256, evidence.digest(layout.decision(entry.scope, entry.decision_id)))


def _promoted(evidence: RunEvidence) -> Found:
    judged, entry = evidence.judged, evidence.entry
    if judged is None:
        return absent("this run was not judged")
    if judged.outcome != "promote":
        return absent("this run promoted nothing")
    if entry is None:
        reason = f"{evidence.part('judge')} says that it promoted, and the log has no entry of its decision"
        return Found(FALSE, judged.decision_id, None, reason)
    began, ended = evidence.claim.promotion, judged.promotion or 0
    if not (judged.repeated or began < entry.number) or entry.number > ended:
        key = layout.log_entry(entry.scope, entry.number)
        where = f"{evidence.part('claim')} and {evidence.part('judge')}"
        reason = f"{where} say that the log had {began} entries when the run began and {ended} at its end, not {key}"
        return Found(FALSE, entry.number, ended, reason)
    return recorded(entry.number)


def _pointer(name: str, key: str) -> Check:
    def look(evidence: RunEvidence) -> Found:
        log, found = evidence.log, evidence.digest(key)
        if not log.entries and found is not None:
            return Found(FALSE, None, found, f"{key} points at a promotion, and the log of its scope has no entry")
        follows = relay.follows(evidence, log, evidence.claim.scope, key) if log.entries else None
        if follows is None and found is None:
            return absent("nothing was promoted that it could point at")
        pointer = relay.read_pointer(evidence, key)
        if follows and pointer is not None and pointer.to_bytes() == evidence.get(key):
            return recorded(found)
        what = "says something else than the log" if found else "is absent"
        return Found(FALSE, None, found, f"{key} {what}; `flts run` writes it again")

    return Check(f"promotion.pointer.{name}", f"The pointer of the {name} says what the log says", look, (key,))
