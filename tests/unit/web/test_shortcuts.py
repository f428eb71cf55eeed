"""An answer that is written once and sent often."""

from __future__ import annotations

from flts.web.shortcuts import PLACE, Ready


def test_only_the_date_and_the_id_of_an_answer_change() -> None:
    ready = Ready(429, [(b"x-request-id", PLACE.encode()), (b"content-length", b"36")], PLACE.encode())
    unique = "01a22e1b-0b95-7083-81cc-336fa8171ebc"
    assert ready.to(unique, [(b"date", b"now")]) == (
        b"HTTP/1.1 429 Too Many Requests\r\ndate: now\r\nx-request-id: %b\r\ncontent-length: 36\r\n\r\n%b"
        % (unique.encode(), unique.encode())
    )
    assert ready.to(unique, [(b"date", b"later")]).startswith(b"HTTP/1.1 429 Too Many Requests\r\ndate: later\r\n")
    assert PLACE.encode() in ready.to(PLACE, []), "the next one is written anew"
    assert (ready.status, ready.length) == (429, 36)
