"""Variables: whether the channels that the environment configures can be made, and which variable is wrong if not."""

import ipaddress
from collections.abc import Callable

from tocsin.core.model.errors import Invalid, check_all
from tocsin.settings.model import ChannelSettings, Settings

VARIABLES = {
    ("email", "host"): "TOCSIN_SMTP_HOST",
    ("email", "port"): "TOCSIN_SMTP_PORT",
    ("email", "user"): "TOCSIN_SMTP_USER",
    ("email", "password"): "TOCSIN_SMTP_PASSWORD",
    ("email", "sender"): "TOCSIN_SMTP_FROM",
    ("email", "recipients"): "TOCSIN_SMTP_TO",
    ("email", "tls"): "TOCSIN_SMTP_TLS",
    ("teams", "url"): "TOCSIN_TEAMS_WEBHOOK_URL",
    ("webhook", "url"): "TOCSIN_WEBHOOK_URL",
    ("webhook", "secrets"): "TOCSIN_WEBHOOK_SECRET",
}
"""(channel, setting) -> the variable that holds it."""


def _named(channel: str, field: str, what: str) -> tuple[str, str]:
    """Name the variable that is wrong instead of the setting; the setting where no variable holds it."""
    variable = VARIABLES.get((channel, field.partition("[")[0]))
    return (field, what) if variable is None else (variable, f"{variable} is wrong: {what}")


def tried(settings: Settings, try_channel: Callable[[ChannelSettings], object]) -> Settings:
    """Give the settings of the environment once each channel could be made. Raises: Invalid naming the variable."""
    for network in settings.allow_private:
        try:
            ipaddress.ip_network(network)
        except ValueError as error:
            raise Invalid(
                f"TOCSIN_ALLOW_PRIVATE holds {network!r}, which is no network ({error}). Write it like 10.0.0.0/8.",
                field="TOCSIN_ALLOW_PRIVATE",
            ) from error
    for channel in settings.channels:
        try:
            try_channel(channel)
        except Invalid as error:
            check_all(
                [
                    _named(channel.name, field, what)
                    for field, what in error.errors or [(error.field, str(error))]
                ]
            )
    return settings
