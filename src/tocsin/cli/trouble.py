"""Trouble: what the list of incidents does not say and the deliveries do: who could not be told, and where."""

from typing import TYPE_CHECKING, Any

from tocsin.cli.answers import collect

if TYPE_CHECKING:
    from tocsin.cli.answers import Api

PATH = "/api/v1/deliveries"
LOOKED_AT = 500
"""The newest deliveries that failed; whoever has more of them sees it anyway."""


def mark(api: "Api", incidents: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Add to each incident how many of its deliveries were given up, and how many failed and are tried again."""
    if not incidents:
        return incidents
    since = min(one["opened_at"] for one in incidents)
    dead: dict[int, int] = {}
    failing: dict[int, int] = {}
    for state, counts in (("dead", dead), ("pending", failing)):
        query = {"state": state, "since": since}
        for one in collect(api, PATH, "deliveries", query, LOOKED_AT)["deliveries"]:
            number = one["incident_number"]
            if number is not None and (state == "dead" or one["attempts"]):
                counts[number] = counts.get(number, 0) + 1
    return [
        one | {"dead": dead.get(one["number"], 0), "failing": failing.get(one["number"], 0)}
        for one in incidents
    ]


def addressed(api: "Api", number: int, deliveries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Add to the deliveries of an incident the address that each goes to; the newest LOOKED_AT are known."""
    if not deliveries:
        return deliveries
    known = collect(api, PATH, "deliveries", {"incident": str(number)}, LOOKED_AT)["deliveries"]
    addresses = {one["number"]: one["address"] for one in known}
    return [one | {"address": addresses.get(one["number"], "")} for one in deliveries]
