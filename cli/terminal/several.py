"""What is said where a name means several shipments."""

from cli.terminal.output import complain
from cli.terminal.tables import say_table, short_time
from operators.shared.errors import SeveralError


def say_several(error: SeveralError) -> None:
    """List the shipments that a name may mean."""
    complain(str(error))
    say_table(
        ("shipment", "status", "order", "awb", "changed"),
        [
            (each.shipment_id, each.status, each.order_id, each.awb, each.updated_at and short_time(each.updated_at))
            for each in error.matches
        ],
    )
