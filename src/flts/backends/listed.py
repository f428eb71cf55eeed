"""Keys of a store that is no folder, as its server lists them: a thousand with each answer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import chain
from operator import itemgetter
from typing import TYPE_CHECKING

from flts.backends.large import STAGING
from flts.contracts.listing import in_order

if TYPE_CHECKING:
    from obstore import ObjectMeta
    from obstore.store import ObjectStore

PAGE = 1000


def every(store: ObjectStore, below: str) -> Iterator[ObjectMeta]:
    """The objects below a folder, in any order; all of the store for an empty name."""
    return _objects(store, below, None)


def dated(store: ObjectStore, below: str) -> Iterator[tuple[str, datetime]]:
    """Their keys, and when each was written."""
    return ((str(item["path"]), item["last_modified"]) for item in every(store, below))


def page(store: ObjectStore, prefix: str, most: int, start: str, after: str = "") -> Sequence[ObjectMeta]:
    """The first objects whose keys start so, in the order of the server: by key or folder by folder.

    start: after which key the server begins; it is asked for no more than these. One that keeps no order is asked for
    all. after: only those after this one. `start` is then a little before it, as SeaweedFS would pass over a folder of
    the same name.
    """
    folder, last = prefix.rpartition("/")[0], after or start
    met: list[str] = []
    found: list[ObjectMeta] = []
    for item in _objects(store, folder, start or None):
        key = str(item["path"])
        met.append(key)
        if after and key <= after and in_order(key) <= in_order(after):
            continue  # before it in either order
        if key.startswith(prefix):
            found.append(item)
        elif found:  # in either order, those with one start follow each other
            break
        if len(found) >= most:
            break
    if met in (sorted(met), sorted(met, key=in_order)):
        return found[:most]
    fitting = [(in_order(key), item) for item in every(store, folder) if (key := str(item["path"])).startswith(prefix)]
    later = sorted((named for named in fitting if named[0] > in_order(last)), key=itemgetter(0))
    return [item for _, item in later][:most]


def _objects(store: ObjectStore, below: str, after: str | None) -> Iterator[ObjectMeta]:
    """Those below a folder and after a key, without parts of uploads, as the server is asked for them in turn."""
    import obstore

    pages = obstore.list(store, prefix=f"{below}/" if below else None, offset=after, chunk_size=PAGE)
    return (item for item in chain.from_iterable(pages) if not str(item["path"]).startswith(STAGING))


def folders(store: ObjectStore, folder: str) -> Sequence[str]:
    """The folders right below one, sorted. What uploads left in parts is none."""
    import obstore

    found = obstore.list_with_delimiter(store, prefix=folder)["common_prefixes"]
    return sorted(key for name in found if (key := f"{str(name).rstrip('/')}/") != STAGING)
