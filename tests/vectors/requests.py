"""request_v1.json: subjects' requests, sealed, and what isn't the one under its id."""

from collections.abc import Iterator

from tests.vectors.formats import Vector, derive, draw, mac, message, number, pad, seal

KEY, VERSION = draw("audit-data key"), 3
COMPARTMENT, ELSEWHERE = draw("uuid of accounts", 16), draw("uuid of orders", 16)
PARTS = (draw("pseudonym of Aigul"), b"\x01", b"portal", b"a request id")
ID = mac(derive(KEY, b"request-id"), *PARTS)[:16]
OPENED = 20_454  # days since 1970: 2026-01-01
REQUESTS: dict[str, tuple[int | str, ...]] = {
    "open": (1, 1, OPENED, OPENED + 7, 0, ""),
    "done": (2, 2, OPENED, OPENED + 7, OPENED + 1, ""),
    "refused": (4, 3, OPENED, OPENED + 7, OPENED, "ERASED"),
}


def vectors() -> Vector:
    return {
        "key": KEY.hex(),
        "key_version": VERSION,
        "id_parts": [part.hex() for part in PARTS],
        "id": ID.hex(),
        "opened": [_vector(name, _sealed(name)) | {"says": list(its)}
                   for name, its in REQUESTS.items()],
        "refused": list(_refused()),
    }  # fmt: skip


def _refused() -> Iterator[Vector]:
    sealed = _sealed("open")
    yield _vector("under another id", sealed) | {"id": draw("another id", 16).hex()}
    yield _vector("in another compartment", sealed) | {"compartment": ELSEWHERE.hex()}
    yield _vector("a bit flipped", sealed[:-1] + bytes((sealed[-1] ^ 1,)))
    yield _vector("cut short", sealed[:-1])
    yield _vector("under the audit-data key itself", _seal(KEY, "request", _body("open")))
    yield _vector("sealed as an event", _seal(_under(), "audit", _body("open")))
    yield _vector(
        "of a state that isn't known", _seal(_under(), "request", message((1, 1), (2, 9)))
    )
    yield _vector("nothing", b"")


def _sealed(name: str) -> bytes:
    return _seal(_under(), "request", _body(name))


def _seal(key: bytes, kind: str, body: bytes) -> bytes:
    place = {"compartment": COMPARTMENT, "id": ID}
    return seal(key, kind, number(VERSION, 8), place, pad(body, 64))


def _body(name: str) -> bytes:
    return message(*((tag, value) for tag, value in enumerate(REQUESTS[name], start=1)))


def _under() -> bytes:
    return derive(KEY, b"request")


def _vector(name: str, sealed: bytes) -> Vector:
    place = {"compartment": COMPARTMENT.hex(), "id": ID.hex()}
    return {"name": name, **place, "sealed": sealed.hex()}
