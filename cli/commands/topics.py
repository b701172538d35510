"""`waybill topics apply` and `waybill topics check`."""

from cli.terminal.output import complain, say, say_json
from runtime import topics
from runtime.settings import Settings


async def apply(settings: Settings, *, json: bool) -> int:
    """Make the topics and say what was done. 1 if something differs that may not be changed."""
    applied = await topics.apply(settings)
    if json:
        say_json(applied)
    else:
        for name in applied.created:
            say(f"created {name}")
        for difference in applied.altered:
            say(f"altered {difference.topic}: {difference.property} {difference.found} → {difference.wanted}")
        if not (applied.created or applied.altered or applied.left):
            say("the topics are as they should be")
        for difference in applied.left:
            complain(f"{difference}; left as it is")
    return 1 if applied.left else 0


async def check(settings: Settings, *, json: bool) -> int:
    """Say how the topics differ from what they should be. 1 if they do."""
    differences = await topics.check(settings)
    if json:
        say_json({"ok": not differences, "differences": differences})
    elif differences:
        for difference in differences:
            say(str(difference))
    else:
        say("the topics are as they should be")
    return 1 if differences else 0
