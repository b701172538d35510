"""Who is let in: property tests over secrets and over what is shown."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.credentials import make_verifier, verify
from schemas.couriers.base import Credentials

BEARER = Credentials(secrets_setting="T", header="Authorization", scheme="Bearer")
PLAIN = Credentials(secrets_setting="S", header="X-Secret")

tokens = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1).filter(
    lambda text: not text.startswith("sha256:")
)
token_lists = st.lists(tokens, min_size=1, max_size=4)


def digest(secret: str) -> str:
    return f"sha256:{hashlib.sha256(secret.encode()).hexdigest()}"


@given(secrets=token_lists, data=st.data(), kept_as_digest=st.booleans())
def test_every_accepted_secret_opens_as_text_or_as_digest(
    secrets: list[str], data: st.DataObject, kept_as_digest: bool
) -> None:
    shown = data.draw(st.sampled_from(secrets))
    kept = [digest(secret) for secret in secrets] if kept_as_digest else secrets
    assert verify(make_verifier(PLAIN, "X-Secret", kept), [shown])
    assert verify(make_verifier(BEARER, "Authorization", kept), [f"Bearer {shown}"])


@given(secrets=token_lists, shown=tokens)
def test_no_other_secret_opens(secrets: list[str], shown: str) -> None:
    if shown in secrets:
        return
    assert not verify(make_verifier(PLAIN, "X-Secret", secrets), [shown])
    assert not verify(make_verifier(BEARER, "Authorization", secrets), [f"Bearer {shown}"])


@given(shown=st.lists(st.text(), max_size=3))
def test_nothing_shown_ever_raises(shown: list[str]) -> None:
    verify(make_verifier(PLAIN, "X-Secret", ["s3cret"]), shown)
    verify(make_verifier(BEARER, "Authorization", ["s3cret"]), shown)


@pytest.mark.parametrize(
    "value", ["Bearer s3cret", "bearer s3cret", "BEARER s3cret", "Bearer   s3cret", "Bearer s3cret "]
)
def test_the_scheme_is_read_as_http_says(value: str) -> None:
    assert verify(make_verifier(BEARER, "Authorization", ["s3cret"]), [value])


@pytest.mark.parametrize(
    "values",
    [
        pytest.param([], id="missing"),
        pytest.param([""], id="empty"),
        pytest.param(["Bearer"], id="no token"),
        pytest.param(["Bearer "], id="empty token"),
        pytest.param(["s3cret"], id="no scheme"),
        pytest.param(["Basic s3cret"], id="other scheme"),
        pytest.param(["Bearers3cret"], id="no space"),
        pytest.param(["Bearer s3cret", "Bearer s3cret"], id="twice"),
        pytest.param(["Bearer s3cret, Bearer s3cret"], id="twice in one"),
        pytest.param(["Bearer s3cret s3cret"], id="more behind it"),
        pytest.param(["Bearer s3cre"], id="shorter"),
        pytest.param(["Bearer s3crets"], id="longer"),
        pytest.param(["Bearer S3CRET"], id="other case"),
        pytest.param(["Bearer s3cr\xe9t"], id="not ASCII"),
        pytest.param(["Bearer s3cr\udce9t"], id="no UTF-8"),
        pytest.param([f"Bearer {digest('s3cret')}"], id="the digest itself"),
    ],
)
def test_malformed_credentials_are_refused(values: list[str]) -> None:
    assert not verify(make_verifier(BEARER, "Authorization", ["s3cret", digest("s3cret")]), values)


def test_an_empty_secret_never_opens() -> None:
    verifier = make_verifier(PLAIN, "X-Secret", [digest("")])
    assert not verify(verifier, [""])
    assert not verify(verifier, [])
