"""A file can be read for its policy alone: strictly, but with nothing of the world around it."""

import pytest

from tocsin.core.model.policy import MINUTE
from tocsin.settings import read_policy_settings
from tocsin.settings.problems import WrongFile
from tocsin.wiring.policies import read_candidate


def wrote(folder, text):
    path = folder / "new.yaml"
    path.write_text(text)
    return path


FULL = """
channels:
- {kind: email, name: mail, host: h, sender: t@example.org, recipients: [a@example.org, b@example.org],
   user: u, password: {env: NOBODY_SET_THIS}, ca_file: nowhere.pem}
- {kind: webhook, name: hook, url: {file: nowhere}}
- {kind: teams, name: chat, url: {env: NOBODY_SET_THIS}}
routes: {name: default, group_wait: 2m, routes: [{name: db, matchers: [team=db], channels: [mail]}]}
rate_limit: {limit: 3}
"""


def test_secrets_and_files_are_not_fetched(tmp_path):
    settings = read_policy_settings(wrote(tmp_path, FULL))

    assert [channel.name for channel in settings.channels] == ["mail", "hook", "chat"]
    assert "NOBODY_SET_THIS" in repr(settings.channels[0])


def test_its_policy_has_a_target_for_each_address(tmp_path):
    policy, has_targets = read_candidate(wrote(tmp_path, FULL))

    assert has_targets
    assert [(target.channel, target.address) for target in policy.targets] == [
        ("mail", "a@example.org"),
        ("mail", "b@example.org"),
        ("hook", "hook"),
        ("chat", "chat"),
    ]
    assert policy.routes.group_wait == 2 * MINUTE
    assert policy.rate_limit is not None
    assert policy.rate_limit.limit == 3


def test_without_channels_its_routes_may_name_any(tmp_path, monkeypatch):
    monkeypatch.setenv("TOCSIN_WEBHOOK_URL", "https://example.org/hook")

    policy, has_targets = read_candidate(
        wrote(tmp_path, "routes: {name: default, channels: [a], routes: [{name: x, channels: [b, a]}]}\n")
    )

    assert not has_targets
    assert policy.routes.routes[0].channels == ("b", "a")


def test_with_channels_its_routes_may_name_only_those(tmp_path):
    with pytest.raises(WrongFile, match="pager"):
        read_policy_settings(wrote(tmp_path, FULL + "defaults: {channels: [pager]}\n"))


@pytest.mark.parametrize(
    "text", ["rutes: {}\n", "[1]\n", "routes: {name: default, group_wait: 5}\n", "channels: [{kind: fax}]\n"]
)
def test_it_is_read_as_strictly_as_any_other(tmp_path, text):
    with pytest.raises(WrongFile):
        read_policy_settings(wrote(tmp_path, text))
