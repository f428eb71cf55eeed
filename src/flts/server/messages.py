"""Messages of a request that are there already: a body that came with its head needs no timer and no wait."""

from __future__ import annotations

from types import CoroutineType

from starlette.types import Message, Receive


def at_once(receive: Receive) -> Message | None:
    """The next message of a request, where it is there already. Asks for it, but does not wait."""
    asked = receive()
    assert isinstance(asked, CoroutineType), "a server whose receive is an async function"
    try:
        asked.send(None)
    except StopIteration as told:
        message: Message = told.value
        return message
    finally:
        asked.close()
    return None


def has_left(receive: Receive) -> bool:
    """Whether the client of a request whose body was read has gone: asks for the next message, but does not wait."""
    message = at_once(receive)
    return message is not None and bool(message["type"] == "http.disconnect")
