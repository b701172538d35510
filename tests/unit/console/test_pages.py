"""Every page in every kind, whatever couriers and operators wrote: it is whole, not blank, and shows it as text."""

from datetime import timedelta
from html.parser import HTMLParser
from typing import Final

import msgspec
import pytest

from console.access import Role, Who
from console.pages import PAGES
from console.pages.attention import length
from console.pages.shipment import ShipmentQuery, page_of
from console.rendering import MAX_JSON, Frame, address, inside, render, span
from operators.requests.asking import Requests
from operators.views.shipments import ShownShipment
from schemas.couriers import COURIERS
from schemas.vocabulary import AnomalyKind, Outcome, Service
from tests.hostile import HOSTILE, commanding
from tests.unit.console.answers import Made, answers, event, observation, snapshot

TEXTS: Final = {
    "plain": "Budi",
    "hostile": HOSTILE,
    "markup": "</script><script>alert(1)</script></textarea></title><!-- ]]> '\"><img src=x onerror=alert(1)>",
    "braces": "{{ 7 * 7 }}{% raw %}${7*7}javascript:alert(1)",
    "turned": "\u202e\u2066abc\u2069\u200f\u061c مرحبا",
    "huge": "\x1b<" + "x" * 1_048_574,
    "nothing": "",
}
VOID: Final = {"meta", "link", "input", "br", "img", "hr"}
FRAME: Final = Frame("Title", "/", Who("sari", frozenset(Role)), (("/", "Title"),), "token")

LARGEST: Final = 3_000_000
"""Characters of a page. The longest is a shipment's whose every text is a mebibyte: each is cut."""


class Read(HTMLParser):
    """Reads a page, and minds that each element is closed where it was opened."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.texts: list[str] = []
        self.main: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)
        if "main" in self.open:
            self.main.append(data)


def read(page: str) -> Read:
    reader = Read()
    reader.feed(page)
    reader.close()
    assert reader.open == []
    return reader


def stays_here_and_runs_nothing(found: Read) -> None:
    for name, value in found.attributes:
        assert not name.startswith("on")
        assert name != "style"
        if name in {"href", "src", "action", "hx-get"}:
            assert value.startswith(("/", "#", "https://cloudevents.io")), value[:100]
            assert not value.startswith("//")


def shown(made: Made) -> str:
    name, _, answer = made
    (page,) = [each for each in PAGES if each.name == name]
    assert type(answer) is page.answer
    return render(page.template, FRAME, {each: getattr(answer, each) for each in answer.__struct_fields__})


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_every_page_is_whole_whatever_stands_in_it(text: str) -> None:
    for made in answers(text):
        page = shown(made)
        found = read(page)
        assert len("".join(found.main).strip()) > 20, made[:2]
        scripts = 2 if made[0] == "tail" else 1
        assert (found.tags.count("script"), found.tags.count("main")) == (scripts, 1), made[:2]
        assert "img" not in found.tags
        assert '<div class="table">' not in page, "each is scrolled by keyboard, too"
        assert commanding(page.replace("\t", "")) == [], made[:2]
        assert len(page) < LARGEST, made[:2]
        stays_here_and_runs_nothing(found)


@pytest.mark.parametrize("text", [TEXTS[name] for name in ("plain", "hostile", "turned")])
def test_every_answer_is_json_of_its_page_s_kind(text: str) -> None:
    for _, _, answer in answers(text):
        assert isinstance(msgspec.json.decode(msgspec.json.encode(answer)), dict)


def test_every_page_has_answers_and_a_name_of_its_own() -> None:
    names = [page.name for page in PAGES]
    assert set(names) == {name for name, _, _ in answers("x")}
    assert len(set(names)) == len(names) == len({page.path for page in PAGES})


def test_nothing_to_do_is_one_calm_line() -> None:
    by_kind = {what: shown((name, what, answer)) for name, what, answer in answers("x") if name == "attention"}
    assert "Nothing needs attention." in by_kind["nothing to do"]
    assert by_kind["nothing to do"].count("<h2") == 1  # the couriers' last webhooks
    assert [what for what, page in by_kind.items() if "Nothing needs attention." in page] == ["nothing to do"]


def test_how_long_nothing_was_heard_is_said_as_people_say_it() -> None:
    (page,) = [shown(made) for made in answers("x") if made[:2] == ("attention", "full")]
    assert "no event for 6h." in page
    said = [span(each) for each in (0, 0.42, 0.5, 12.4, 2790, 86_460, 172_860, 1e9)]
    assert said == ["0 s", "0.42 s", "0.5 s", "12 s", "46 min", "24 h", "2 days", "11574 days"]
    assert [length(timedelta(minutes=each)) for each in (48 * 60, 90, 0.5, 0)] == ["2d", "90m", "30s", "0s"]


def test_what_was_erased_or_archived_is_said() -> None:
    pages = {what: shown((name, what, answer)) for name, what, answer in answers("x") if name == "shipment"}
    assert "its personal data is gone" in pages["erased, personal False"]
    assert "its history was given up" in pages["archived, personal False"]
    assert "No observation is kept: its history was given up." in pages["empty"]
    assert "No status yet" in pages["without a status, personal False"]
    assert "Show personal data" not in pages["as usual, personal False"]
    assert "Hide personal data" in pages["as usual, personal True"]
    assert "Observations 301 to 500 of 1000" in pages["long"]
    assert "until=300" in pages["long"]


def test_a_long_value_is_cut_and_says_how_long_it_was() -> None:
    (page,) = [shown(made) for made in answers(TEXTS["huge"]) if made[:2] == ("log", "full")]
    assert "(1,048,576 characters)" in page
    assert "x" * (MAX_JSON + 1) not in page


@pytest.mark.parametrize("service", Service)
@pytest.mark.parametrize("courier", COURIERS)
def test_the_lifecycle_is_drawn_for_every_service(courier: str, service: Service) -> None:
    row = snapshot("x", service=str(service), courier=courier)
    events = [event(1, None, "CREATED", "x"), event(2, "CREATED", "DELIVERED", "x")]
    page = page_of(ShownShipment(f"{courier}:x", row, [], events), ShipmentQuery(), Requests(), sees_personal=False)
    html = shown(("shipment", "", page))
    assert ("<svg" in html) is (service in COURIERS[courier].lifecycles)


def test_the_timeline_tells_each_observation() -> None:
    lines = [
        observation(Outcome.EVENT, None, True, "COMPLETED"),
        observation(Outcome.ANOMALY, AnomalyKind.ILLEGAL_TRANSITION, False, "BACK"),
    ]
    told = page_of(ShownShipment("dash:x", snapshot("x"), lines, []), ShipmentQuery(), Requests(), sees_personal=False)
    text = " ".join("".join(read(shown(("shipment", "", told))).main).split())
    assert "COMPLETED → FAILED" in text
    assert "illegal_transition" in text
    assert "refused1:2 of log 1 (again 1:1)accept by BACK: BACK" in text.replace("refused 1:2", "refused1:2")


def test_addresses_hold_any_text() -> None:
    assert inside("/shipments", "dash:a/b ?#%\n\u202e") == "/shipments/dash:a%2Fb%20%3F%23%25%0A%E2%80%AE"
    assert address("/x", a=("1", "2"), b=None, c=False, d=True, e="&=") == "/x?a=1&amp;a=2&amp;d=1&amp;e=%26%3D"
    assert address("/x", a=None) == "/x"
