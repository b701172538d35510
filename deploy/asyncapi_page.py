"""The AsyncAPI document as a page to read: `docs/asyncapi/index.html`. It works offline, from a file too.

The document stands in the page itself, since a browser lets no page that it opened from a file read another file.
AsyncAPI's React component, which shows it, lies beside the page with its licence.
"""

from typing import Final

FILE: Final = "docs/asyncapi/index.html"
COMPONENT: Final = "vendor/react-component-3.2.1"

_PAGE: Final = """\
<!doctype html>
<!-- Written by `make schemas` from schemas/exported/asyncapi.json. -->
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Waybill: shipment events</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="{component}/default.min.css">
<style>
/* Long values, and long lists of values, stay within the window. */
#asyncapi {{ overflow-wrap: anywhere; }}
#asyncapi span.rounded {{ display: inline-block; }}
</style>
</head>
<body>
<noscript>This page needs JavaScript. The document is schemas/exported/asyncapi.json.</noscript>
<main id="asyncapi"></main>
<script type="application/json" id="document">
{document}</script>
<script src="{component}/index.js"></script>
<script>
AsyncApiStandalone.render({{
    schema: document.getElementById("document").textContent,
    config: {{ show: {{ sidebar: true, errors: true }}, sidebar: {{ showOperations: "byDefault" }} }},
}}, document.getElementById("asyncapi"));
</script>
</body>
</html>
"""


def page(document: str) -> str:
    """Return the page of a document. No text in it can end the script that holds it."""
    return _PAGE.format(component=COMPONENT, document=document.replace("<", "\\u003c"))
