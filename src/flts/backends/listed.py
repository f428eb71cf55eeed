"""Keys of a store that is no folder, as its server lists them: a thousand with each answer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import chain, islice
from typing import TYPE_CHECKING

from flts.backends.large import STAGING
from flts.contracts.listing import in_order

if TYPE_CHECKING:
    from obstore import ObjectMeta
    from obstore.store import ObjectStore

PAGE = 1000


def every(store: ObjectStore, below: str) -> Iterator[ObjectMeta]:
    """The objects below a folder, in any order; all of the store for an empty name."""
    import obstore

    return chain.from_iterable(obstore.list(store, prefix=f"{below}/" if below else None, chunk_size=PAGE))


def dated(store: ObjectStore, below: str) -> Iterator[tuple[str, datetime]]:
    """Their keys, and when each was written."""
    return ((str(item["path"]), item["last_modified"]) for item in every(store, below))


def first(store: ObjectStore, folder: str, most: int, after: str = "") -> Sequence[str]:
    """The first keys below a folder that come after one, sorted folder by folder.

    The server begins after that key and is asked for no more than these. One that keeps no order is asked for all.
    """
    import obstore

    stream = obstore.list(store, prefix=folder, offset=after or None, chunk_size=PAGE)
    keys = [str(item["path"]) for item in islice(chain.from_iterable(stream), most)]
    if keys in (sorted(keys), sorted(keys, key=in_order)):
        return keys
    found = (str(item["path"]) for item in every(store, folder.rstrip("/")))
    return sorted((key for key in found if in_order(key) > in_order(after)), key=in_order)[:most]


def folders(store: ObjectStore, folder: str) -> Sequence[str]:
    """The folders right below one, sorted. What uploads left in parts is none."""
    import obstore

    found = obstore.list_with_delimiter(store, prefix=folder)["common_prefixes"]
    return sorted(key for name in found if (key := f"{str(name).rstrip('/')}/") != STAGING)
