"""Old and new versions of Waybill keep each other away by the numbers of their locks."""

from runtime.locks import LockNumber


def test_no_number_ever_changes() -> None:
    assert {lock.name: lock.value for lock in LockNumber} == {
        "MIGRATION": 33_602_696_198_581_356,
        "RECOVERY": 125_779_785_966_962,
        "REDRIVE": 131_260_531_998_721,
        "RETENTION": 131_260_531_998_722,
    }
