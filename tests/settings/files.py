"""Files for the tests of the settings: written, read as a server would, and what is then said to be wrong."""

from collections.abc import Mapping
from pathlib import Path
from textwrap import dedent

import pytest

from tocsin.outbound import Outbound
from tocsin.settings import Settings
from tocsin.settings.file import file_settings
from tocsin.settings.problems import WrongFile, path_of
from tocsin.wiring.outside import build_channel, try_source


def settings_of(folder: Path, text: str | bytes, environment: Mapping[str, str] | None = None) -> Settings:
    """Read this file, with every channel tried. Raises: WrongFile."""
    path = folder / "tocsin.yaml"
    path.write_bytes(text if isinstance(text, bytes) else dedent(text).encode())
    outbound = Outbound()

    return file_settings(
        path,
        environment or {},
        lambda channel: build_channel(channel, outbound),
        lambda source: try_source(source, outbound),
    )


def wrongs_of(folder: Path, text: str | bytes, environment: Mapping[str, str] | None = None) -> list[str]:
    """Give what is wrong with this file, as `line:column key: message`."""
    wrong = wrong_file(folder, text, environment)
    return [
        f"{place.line}:{place.column} {path_of(key)}: {message}" for place, key, message, _ in wrong.problems
    ]


def wrong_file(folder: Path, text: str | bytes, environment: Mapping[str, str] | None = None) -> WrongFile:
    """Give what reading this file raises."""
    with pytest.raises(WrongFile) as raised:
        settings_of(folder, text, environment)
    return raised.value
