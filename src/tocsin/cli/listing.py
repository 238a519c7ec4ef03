"""Listing: incidents one a line, each with a warning if people could not be told of it."""

from typing import TYPE_CHECKING, Any

from tocsin.cli.show import SEVERITY_STYLE, moment, standing, table, text, zone

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text


def incidents_table(incidents: list[dict[str, Any]]) -> "Table":
    """Show incidents, one a line; what could not be told stands in front of the title."""
    shown = table(">#", "state", "severity", f"opened ({zone(short=True)})", ">firing", "title", wide="title")
    for one in incidents:
        title = trouble(one)
        title.append_text(text(one["title"], one_line=True))
        title.no_wrap, title.overflow = True, "ellipsis"
        shown.add_row(
            text(one["number"], "bold"),
            standing(one),
            text(one["severity"], SEVERITY_STYLE.get(one["severity"], "")),
            text(moment(one["opened_at"], short=True), "dim"),
            text(f"{one['firing']} of {one['firing'] + one['cleared']}"),
            title,
        )
    return shown


def trouble(incident: dict[str, Any]) -> "Text":
    """Give a warning if people could not be told of it."""
    said = [
        f"{incident[name]} {word}"
        for name, word in (("dead", "not told"), ("failing", "not yet told"))
        if incident.get(name)
    ]
    warning = text("")
    return warning.append_text(text(f"! {', '.join(said)}: ", "bold red")) if said else warning
