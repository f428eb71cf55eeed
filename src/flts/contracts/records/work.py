"""The mark of a message that a service works on."""

from __future__ import annotations

from typing import Literal

from flts.contracts.records.base import Count, StoredRecord


class WorkMark(StoredRecord):
    """`runs/in-work/<group>/<topic>/<partition>-<slot>.json`: a message whose work was begun, and how often.

    Work that ends, well or badly, is committed and never begun again, so a message that is begun again with its mark
    ended the process that worked on it.
    """

    v: Literal[1] = 1
    offset: Count
    sent_ms: int
    """When the message was sent: a topic that was made anew has other messages at the same offsets."""
    begun: Count
