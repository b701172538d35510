"""How a webhook's body becomes raw records: each self-contained, with its item's own bytes."""

import json

import pytest

from schemas.couriers import COURIERS
from schemas.couriers.base import WebhookItem
from schemas.tolerant_json import load
from tests.unit.schemas.reading import read, refusal, said

split = COURIERS["kiriminaja"].split

DEEP = b"[" * 199 + b"]" * 199
BOTTOMLESS = b"[" * 5000 + b"]" * 5000


def test_one_item_stays_as_it_came() -> None:
    body = b' {"data" : [ {"order_id":"X"} ],\n "method":"shipped_packages", "payment":{"amount":1} } '
    assert split(body) == [WebhookItem(body, "X")]


@pytest.mark.parametrize(
    "body",
    [
        b'{"method":"shipped_packages","data":[{"order_id":"X"}]}',
        b'{"method":"shipped_packages","data":{"order_id":"X"}}',
        b'{"method":"shipped_packages","packages":[{"order_id":"X"}]}',
        b'{"method":"shipped_packages","packages":{"order_id":"X"}}',
        b'{"method":"shipped_packages","data":null,"packages":[{"order_id":"X"}]}',
        b'{"method":"shipped_packages","data":[],"packages":[{"order_id":"X"}]}',
        b'{"method":"shipped_packages","data":"","packages":[{"order_id":"X"}]}',
        b'{"method":"shipped_packages","data":[{"order_id":"X"}],"packages":null}',
    ],
)
def test_object_or_list_with_or_without_packages(body: bytes) -> None:
    assert split(body) == [WebhookItem(body, "X")]
    assert read("kiriminaja", body).shipment_id == "kiriminaja:X"


def test_an_object_and_a_list_of_one_say_the_same() -> None:
    one = read("kiriminaja", b'{"method":"shipped_packages","data":{"order_id":"X","a":1}}')
    other = read("kiriminaja", b'{"method":"shipped_packages","data":[{"a": 1, "order_id": "X"}]}')
    assert said(one) == said(other)


def test_items_keep_their_own_bytes() -> None:
    first = b'{ "order_id" : "X", "z":1.50, "a":1E3,\n"name":"Ren\\u00e9 \xf0\x9f\x93\xa6" }'
    second = b'{"awb":"A2","weight":24.80,"big":1000000000000000000000000000000}'
    body = b'{"method" : "shipped_packages", "data" : [' + first + b" ,\t" + second + b"]}"
    assert split(body) == [
        WebhookItem(b'{"method":"shipped_packages","data":[' + first + b"]}", "X"),
        WebhookItem(b'{"method":"shipped_packages","data":[' + second + b"]}", "A2"),
    ]


def test_what_stands_beside_the_items_rides_with_the_first() -> None:
    body = (
        b'{"payment":{"amount": 1.0},"method":"shipped_packages",'
        b'"data":[{"order_id":"X"},{"order_id":"Y"}],"note":"caf\\u00e9"}'
    )
    assert split(body) == [
        WebhookItem(
            b'{"method":"shipped_packages","data":[{"order_id":"X"}],"payment":{"amount": 1.0},"note":"caf\\u00e9"}',
            "X",
        ),
        WebhookItem(b'{"method":"shipped_packages","data":[{"order_id":"Y"}]}', "Y"),
    ]


@pytest.mark.parametrize(
    ("data", "packages", "pairs"),
    [
        # the same order_id, in any order
        ('[{"order_id":"X"},{"order_id":"Y"}]', '[{"order_id":"Y"},{"order_id":"X"}]', [("X", 1), ("Y", 0)]),
        # else the same AWB, where one of the two names no order
        ('[{"order_id":"X","awb":"A"},{"order_id":"Y"}]', '[{"awb":"A"}]', [("X", 0), ("Y", None)]),
        ('[{"awb":"A"},{"order_id":"Y"}]', '[{"order_id":"X","awb":"A"}]', [("X", 0), ("Y", None)]),
        ('[{"order_id":null,"awb":"A"},{"order_id":"Y"}]', '[{"order_id":"","awb":"A"}]', [("A", 0), ("Y", None)]),
        # the same AWB of two orders is not the same parcel
        ('[{"order_id":"X","awb":"A"}]', '[{"order_id":"Y","awb":"A"}]', [("X", None), ("Y", 0)]),
        # order_id goes before AWB
        (
            '[{"order_id":"X","awb":"A"},{"order_id":"Z"}]',
            '[{"awb":"A"},{"order_id":"X","awb":"B"}]',
            [("X", 1), ("Z", None), ("A", 0)],
        ),
        # white space around a reference is not part of it, and an AWB is the same in any case
        ('[{"order_id":"X "},{"order_id":"Y"}]', '[{"order_id":"\\u3000Y"},{"order_id":"X"}]', [("X", 1), ("Y", 0)]),
        ('[{"awb":"scu1"},{"order_id":"Y"}]', '[{"order_id":"X","awb":" SCU1"}]', [("X", 0), ("Y", None)]),
        ('[{"order_id":" ","awb":"A"},{"order_id":"Y"}]', '[{"order_id":"X","awb":"A"}]', [("X", 0), ("Y", None)]),
        # a single item and a single package belong together
        ('[{"order_id":null,"awb":"scu1"}]', '[{"order_id":"X","awb":"SCU2"}]', [("X", 0)]),
        ('[{"order_id":"X"}]', '[{"awb":"A"}]', [("X", 0)]),
        ('[{"awb":"A"}]', '[{"service_type":"instant"}]', [("A", 0)]),
        ('[{"reason":"r"}]', '[{"order_id":" X"}]', [("X", 0)]),
        # unless both name an order_id and these differ, or one of them is no object
        ('[{"order_id":"X","awb":"A"}]', '[{"order_id":"x","awb":"A"}]', [("X", None), ("x", 0)]),
        ('[{"order_id":5}]', '[{"order_id":"X"}]', [(None, None), ("X", 0)]),
        ("[null]", '[{"order_id":"X"}]', [(None, None), ("X", 0)]),
        ('[{"order_id":"X"}]', "[7]", [("X", None), (None, 0)]),
        # a package without an item comes behind the items
        ('[{"order_id":"X"}]', '[{"order_id":"P"},{"order_id":"X"}]', [("X", 1), ("P", 0)]),
        ("null", '[{"order_id":"P"},{"awb":"Q"}]', [("P", 0), ("Q", 1)]),
        # two items of one order share its package
        ('[{"order_id":"X","a":1},{"order_id":"X","a":2}]', '[{"order_id":"X"}]', [("X", 0), ("X", 0)]),
        # odd packages disturb nobody
        ('[{"order_id":"X"}]', '[5,{"order_id":"X"}]', [("X", 1), (None, 0)]),
        ('[{"order_id":5,"awb":"A"},{"order_id":"Y"}]', '[{"awb":"A"}]', [(None, 0), ("Y", None)]),
    ],
)
def test_items_and_packages_of_the_complete_format(
    data: str, packages: str, pairs: list[tuple[str | None, int | None]]
) -> None:
    pieces = split(f'{{"method":"shipped_packages","data":{data},"packages":{packages}}}'.encode())
    listed = json.loads(packages)
    assert [
        (piece.reference, listed.index(carried[0]) if (carried := load(piece.value).get("packages")) else None)
        for piece in pieces
    ] == pairs


@pytest.mark.parametrize(
    ("data", "references"),
    [
        ('{"0":{"order_id":"X"},"1":{"order_id":"Y"}}', ["X", "Y"]),
        ('{"1":{"order_id":"Y"},"0":{"order_id":"X"}}', ["X", "Y"]),
        ('{"10":{"order_id":"Y"},"9":{"order_id":"X"}}', ["X", "Y"]),
        ('{"010":{"order_id":"Y"},"9":{"order_id":"X"}}', ["X", "Y"]),
        ('{"7":{"order_id":"X"}}', ["X"]),
        ('{"0":{"order_id":"X"},"1":null,"2":{"order_id":"Y"}}', ["X", None, "Y"]),
        ('{"%s":{"order_id":"Y"},"3":{"order_id":"X"}}' % ("9" * 5000), ["X", "Y"]),
    ],
)  # fmt: skip
def test_an_object_whose_names_are_numbers_is_a_list(data: str, references: list[str | None]) -> None:
    body = b'{"method":"shipped_packages","data":%s}' % data.encode()
    pieces = split(body)
    assert [piece.reference for piece in pieces] == references
    for piece in pieces:
        if piece.reference:
            assert read("kiriminaja", piece.value).reference == piece.reference
    if len(pieces) > 1:
        assert load(pieces[0].value) == {"method": "shipped_packages", "data": [{"order_id": "X"}]}


def test_packages_by_number_too() -> None:
    body = (
        b'{"method":"shipped_packages","data":{"0":{"order_id":"X"},"1":{"order_id":"Y"}},'
        b'"packages":{"1":{"order_id":"X","service_type":"instant"},"2":{"order_id":"Z"}}}'
    )
    assert [piece.reference for piece in split(body)] == ["X", "Y", "Z"]
    assert read("kiriminaja", split(body)[0].value).proves == ("instant",)


@pytest.mark.parametrize("data", [b'{"0":{"order_id":"X"},"order_id":"Z"}', b'{"-1":5,"order_id":"Z"}'])
def test_an_object_with_any_other_name_is_one_item(data: bytes) -> None:
    body = b'{"method":"shipped_packages","data":' + data + b"}"
    assert split(body) == [WebhookItem(body, "Z")]
    assert read("kiriminaja", body).reference == "Z"


def test_a_numbered_item_alone_and_in_a_list_say_the_same() -> None:
    one = read("kiriminaja", b'{"method":"shipped_packages","data":{"3":{"order_id":"X","a":1}}}')
    other = read("kiriminaja", b'{"method":"shipped_packages","data":[{"a": 1, "order_id": "X"}]}')
    assert said(one) == said(other)


def test_a_byte_order_mark_does_not_keep_a_body_from_being_split() -> None:
    body = b'\xef\xbb\xbf{"method":"shipped_packages","data":[{"order_id":"X"},{"order_id":"Y"}]}'
    assert split(body) == [
        WebhookItem(b'{"method":"shipped_packages","data":[{"order_id":"X"}]}', "X"),
        WebhookItem(b'{"method":"shipped_packages","data":[{"order_id":"Y"}]}', "Y"),
    ]


def test_fields_of_the_item_win_and_empty_ones_give_way() -> None:
    observation = read(
        "kiriminaja",
        {
            "method": "shipped_packages",
            "data": [
                {"order_id": "X", "awb": "", "service": None, "shipped_at": "2025-05-30T10:00:00Z", "reason": "r"}
            ],
            "packages": [
                {
                    "order_id": "X",
                    "awb": "A1",
                    "service": "jne",
                    "service_type": "REG",
                    "shipped_at": "2025-05-01T10:00:00Z",
                    "reason": "other",
                    "live_tracking_url": "https://t.example/1",
                    "driver": {"name": "Ani", "phone": "0811"},
                }
            ],
        },
    )
    details = observation.details
    assert (details.order_id, details.awb, details.reason, details.tracking_url) == (
        "X",
        "A1",
        "r",
        "https://t.example/1",
    )
    assert details.carrier is not None
    assert (details.carrier.code, details.carrier.service) == ("jne", "REG")
    assert details.driver is not None
    assert (details.driver.name, details.driver.phone) == ("Ani", "0811")
    assert observation.times["shipped_at"].at.day == 30


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        (b'{"order_id":"B","deep":' + b"[" * 250 + b"]" * 250 + b"}", "too_deep"),
        (b'{"order_id":"B","deep":' + BOTTOMLESS + b"}", "too_deep"),
        (b'{"order_id":"B","name":"\xff"}', "invalid_json"),
        (b'{"order_id":""}', "no_shipment"),
        (b'{"order_id":"\\u0000"}', "unstorable"),
        (b'{"order_id":"\\ud800"}', "unstorable"),
        (b'"text"', "unknown_shape"),
        (b"null", "no_shipment"),
        (b"[]", "unknown_shape"),
    ],
    ids=["deep", "bottomless", "utf-8", "nameless", "nul", "surrogate", "text", "null", "list"],
)
def test_a_broken_item_is_a_dead_letter_alone(broken: bytes, reason: str) -> None:
    body = b'{"method":"shipped_packages","data":[{"order_id":"A"},' + broken + b',{"order_id":"C"}],"payment":{}}'
    first, second, third = split(body)
    assert first == WebhookItem(b'{"method":"shipped_packages","data":[{"order_id":"A"}],"payment":{}}', "A")
    assert second == WebhookItem(b'{"method":"shipped_packages","data":[' + broken + b"]}", None)
    assert third == WebhookItem(b'{"method":"shipped_packages","data":[{"order_id":"C"}]}', "C")
    assert refusal("kiriminaja", second.value) == reason
    assert read("kiriminaja", third.value).reference == "C"


@pytest.mark.parametrize(
    "odd",
    [
        b'{"order_id":"B","name":"\\ud800"}',
        b'{"order_id":"B","name":"\\u0000"}',
        b'{"order_id":"B","weight":1000000000000000000000000000000}',
        b'{"order_id":"B","weight":1e999}',
        b'{"order_id":"B","weight":' + b"9" * 5000 + b"}",
        b'{"order_id":"B","deep":' + b"[" * 190 + b"]" * 190 + b"}",
    ],
    ids=["surrogate", "nul", "10^30", "1e999", "5000 digits", "190 levels"],
)
def test_an_odd_item_is_read_all_the_same(odd: bytes) -> None:
    body = b'{"method":"shipped_packages","data":[{"order_id":"A"},' + odd + b"]}"
    assert [piece.reference for piece in split(body)] == ["A", "B"]
    assert [read("kiriminaja", piece.value).reference for piece in split(body)] == ["A", "B"]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "invalid_json"),
        (b"<html>", "invalid_json"),
        (b'{"method":"shipped_packages","data":[{"order_id":"X"},{"order_id":"Y"}]', "invalid_json"),
        (b'{"method":"shipped_packages","data":[{"order_id":"X"},{"order_id":01}]}', "invalid_json"),
        (b"\xff\xfe", "invalid_json"),
        (b"null", "unknown_shape"),
        (b"[]", "unknown_shape"),
        (b'[{"method":"shipped_packages"}]', "unknown_shape"),
        (b'"text"', "unknown_shape"),
        (b"{}", "unknown_shape"),
        (b'{"method":"shipped_packages"}', "no_shipment"),
        (b'{"method":"shipped_packages","data":[]}', "no_shipment"),
        (b'{"method":"shipped_packages","data":null}', "no_shipment"),
        (b'{"method":"shipped_packages","data":{}}', "no_shipment"),
        (b'{"method":"shipped_packages","data":7}', "unknown_shape"),
        (b'{"data":[{"order_id":"X"}]}', "unknown_shape"),
        (BOTTOMLESS, "too_deep"),
        (b'{"a":' + BOTTOMLESS, "too_deep"),
    ],
)
def test_what_cannot_be_split_is_one_record_as_it_came(body: bytes, reason: str) -> None:
    (piece,) = split(body)
    assert piece.value == body
    assert refusal("kiriminaja", body) == reason


def test_a_bulk_body_in_one_record_is_refused() -> None:
    assert refusal("kiriminaja", b'{"method":"shipped_packages","data":[{"order_id":"X"},{"order_id":"Y"}]}') == (
        "unknown_shape"
    )


def test_a_bulk_body_without_a_method_still_finds_its_shipments() -> None:
    pieces = split(b'{"data":[{"order_id":"X"},{"order_id":"Y"}]}')
    assert [piece.reference for piece in pieces] == ["X", "Y"]
    assert [refusal("kiriminaja", piece.value) for piece in pieces] == ["unknown_shape", "unknown_shape"]


@pytest.mark.parametrize(("levels", "readable"), [(190, True), (197, True), (198, False), (300, False), (5000, False)])
def test_depth_counts_the_envelope_too(levels: int, readable: bool) -> None:
    deep = b'{"order_id":"X","deep":' + b"[" * levels + b"]" * levels + b"}"
    first, second = split(b'{"method":"shipped_packages","data":[' + deep + b',{"order_id":"Y"}]}')
    if readable:
        assert read("kiriminaja", first.value).reference == first.reference == "X"
    else:
        assert refusal("kiriminaja", first.value) == "too_deep"
    assert read("kiriminaja", second.value).reference == second.reference == "Y"


def test_many_packages_of_one_awb_are_paired_in_time() -> None:
    items = [{"order_id": f"I{number}", "awb": "A"} for number in range(5000)]
    packages = [{"order_id": f"P{number}", "awb": "A"} for number in range(5000)]
    body = json.dumps({"method": "shipped_packages", "data": items, "packages": packages}).encode()
    assert len(split(body)) == 10_000


@pytest.mark.parametrize(
    ("body", "reference"),
    [
        (b' {"status":"ON_HOLD", "deliveryID" : "DE-1" } ', "DE-1"),
        (b'{"deliveryID":"DE-1"}', "DE-1"),
        (b'{"deliveryID":1}', None),
        (b'{"status":"ON_HOLD"}', None),
        (b'[{"deliveryID":"DE-1"}]', None),
        (b'{"deliveryID":"\\ud800"}', None),
        (b"not json", None),
        (BOTTOMLESS, None),
        (b"", None),
    ],
)
def test_a_dash_body_is_one_record_as_it_came(body: bytes, reference: str | None) -> None:
    assert COURIERS["dash"].split(body) == [WebhookItem(body, reference)]
