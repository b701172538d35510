"""The door's errors, as RFC 9457 problem details. Each is declared once, here."""

from typing import Final

import msgspec

MEDIA_TYPE: Final = "application/problem+json"


class Problem(msgspec.Struct, frozen=True):
    """One kind of error. Nothing in it comes from the request."""

    type: str
    title: str
    status: int
    detail: str

    def body(self) -> bytes:
        """Write the problem as JSON."""
        return msgspec.json.encode(self)


def _problem(status: int, name: str, title: str, detail: str) -> Problem:
    return Problem(f"urn:waybill:problem:{name}", title, status, detail)


NOT_FOUND: Final = _problem(404, "not-found", "Not found", "Nothing is here.")
METHOD_NOT_ALLOWED: Final = _problem(
    405, "method-not-allowed", "Method not allowed", "The Allow header names what works here."
)
UNAUTHORIZED: Final = _problem(401, "unauthorized", "Unauthorized", "The credentials are missing or not accepted.")
BODY_TOO_LARGE: Final = _problem(413, "body-too-large", "Body too large", "The body is larger than this door accepts.")
EMPTY_BODY: Final = _problem(400, "empty-body", "Empty body", "A webhook must have a body.")
BROKEN_ENCODING: Final = _problem(
    400, "broken-encoding", "Broken content-encoding", "The body cannot be decompressed as gzip or deflate."
)
MALFORMED_REQUEST: Final = _problem(400, "malformed-request", "Malformed request", "This is no valid HTTP request.")
UNAVAILABLE: Final = _problem(503, "unavailable", "Unavailable", "The webhook cannot be kept right now. Send it again.")
OVERLOADED: Final = _problem(503, "overloaded", "Overloaded", "Too much is under way here. Send the webhook again.")
INTERNAL_ERROR: Final = _problem(500, "internal-error", "Internal error", "The webhook was not kept. Send it again.")
