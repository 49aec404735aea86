"""What comes off the wire, before any use case has it."""

import pytest
from piivault.v1 import types_pb2

from vault.errors import Reason, VaultError
from vault.rpc.wire import MOST_WRITTEN, clear_in, fields_in


def _fields(*names: str) -> list[types_pb2.FieldValue]:
    return [types_pb2.FieldValue(name=name, value="Ош") for name in names]


def test_fields_are_read_by_their_names() -> None:
    assert fields_in(_fields("city", "region")) == {"city": "Ош", "region": "Ош"}
    assert fields_in([]) == {}
    assert len(fields_in(_fields(*map(str, range(MOST_WRITTEN))))) == MOST_WRITTEN


@pytest.mark.parametrize(
    "names",
    [("city", "city"), tuple(map(str, range(MOST_WRITTEN + 1)))],
    ids=["one twice", "more than a record has"],
)
def test_what_no_record_is_written_with_is_refused(names: tuple[str, ...]) -> None:
    with pytest.raises(VaultError) as refused:
        fields_in(_fields(*names))
    assert refused.value.reason is Reason.MALFORMED_REQUEST
    assert "Ош" not in str(refused.value)


def test_so_many_fields_are_removed_at_once_and_no_more() -> None:
    names = list(map(str, range(MOST_WRITTEN + 1)))
    assert clear_in(names[1:]) == names[1:]
    with pytest.raises(VaultError) as refused:
        clear_in(names)
    assert refused.value.reason is Reason.MALFORMED_REQUEST
