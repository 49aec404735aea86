"""What the seals of one record cost: five fields, as an account has."""

import secrets
import statistics
import time
from collections.abc import Callable

from vault.crypto.primitives import KEY_BYTES
from vault.crypto.record import (
    Address,
    DataKey,
    Value,
    new_record,
    open_fields,
    open_record,
    seal_record,
    unwrap_data_key,
    wrap_data_key,
)

VALUES = ("Токтогулова", "Айгүл", "Асан кызы", "aigul@example.kg", "+996 555 123456")
_TIMES, _REPEATS = 1_000, 7


def measure_seal() -> dict[str, float]:
    """Return microseconds an operation, medians."""
    kek, data_key = secrets.token_bytes(KEY_BYTES), DataKey.new()
    address = Address(secrets.token_bytes(16), secrets.token_bytes(32))
    about = new_record(1, 0)
    values = [Value(uid, "name", value, 0) for uid, value in enumerate(VALUES, 1)]
    row = seal_record(address, data_key, about, values)
    wrapped = wrap_data_key(kek, address, data_key)
    record = open_record(address, data_key, row)
    empty = _microseconds(lambda: seal_record(address, data_key, about, []))
    full = _microseconds(lambda: seal_record(address, data_key, about, values))
    return {
        "seal one field": (full - empty) / len(values),
        "open one field": _microseconds(lambda: open_fields(address, data_key, row, record, [2])),
        "seal a record of five fields": full,
        "open a record, fields still sealed": _microseconds(
            lambda: open_record(address, data_key, row)
        ),
        "unwrap a data key": _microseconds(lambda: unwrap_data_key(kek, address, wrapped)),
    }


def _microseconds(operation: Callable[[], object]) -> float:
    runs = []
    for _ in range(_REPEATS):
        started = time.perf_counter_ns()
        for _ in range(_TIMES):
            operation()
        runs.append((time.perf_counter_ns() - started) / _TIMES / 1000)
    return statistics.median(runs)
