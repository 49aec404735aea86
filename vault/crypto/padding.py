"""Padding, so that a ciphertext's length says little: `length 4 | data | zeros`."""

LENGTH_BYTES = 4
SMALLEST_RECORD = 1024
AUDIT_STEP = 256
SMALLEST_EXPORT = 16 * 1024
EXPORT_STEP = 1024 * 1024
_FIELD_BUCKETS = (32, 64, 128, 256)


def pad(data: bytes, size: int) -> bytes:
    """Fill up to `size` bytes, the length prefix included; `size` comes from a function below."""
    return (len(data).to_bytes(LENGTH_BYTES, "big") + data).ljust(size, b"\0")


def unpad(padded: bytes) -> bytes:
    """Return the data; raise ValueError for what `pad` can't have made."""
    end = LENGTH_BYTES + int.from_bytes(padded[:LENGTH_BYTES], "big")
    if end > len(padded) or padded[end:] != bytes(len(padded) - end):
        raise ValueError("not padded data")
    return padded[LENGTH_BYTES:end]


def record_size(length: int) -> int:
    """Return the padded size of a record: 1 KiB, or the next double of it that is large enough.

    Each size that there is lets a guess be right once more (docs/adr/0007-record-sizes.md).
    """
    size = SMALLEST_RECORD
    while size < length + LENGTH_BYTES:
        size *= 2
    return size


def export_size(length: int) -> int:
    """Return the padded size of an export: 16 KiB, doubled up to 1 MiB, then whole MiB.

    By then doubling would outgrow what one answer of gRPC may have.
    """
    size = SMALLEST_EXPORT
    while size < min(length + LENGTH_BYTES, EXPORT_STEP):
        size *= 2
    return max(size, step_size(length, EXPORT_STEP) if size == EXPORT_STEP else 0)


def step_size(length: int, step: int) -> int:
    """Return the padded size for `length` bytes of data: the next multiple of `step`."""
    return -(-(length + LENGTH_BYTES) // step) * step


def field_size(length: int) -> int:
    """Return the padded size of a field's value: 32, 64, 128, 256, then Padmé.

    Padmé (Nikitin et al., PETS 2019) leaks O(log log n) bits and costs under 12 %.
    Alone it barely hides short values: hence the buckets.
    """
    total = length + LENGTH_BYTES
    for bucket in _FIELD_BUCKETS:
        if total <= bucket:
            return bucket
    exponent = total.bit_length() - 1
    free = exponent - exponent.bit_length()  # low bits that are rounded up
    return (total + (1 << free) - 1) >> free << free
