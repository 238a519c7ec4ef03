"""Gate scenarios: stories with known ends: what is decided, told and withheld in each, and why, is a promise.

Whoever changes what one of them tells changes what users rely on, and says so in the news. The language is
`gate_story`'s.
"""

from typing import NamedTuple

from tocsin.core.model.notification import Target
from tocsin.core.model.policy import ALL_LABELS, HOUR, MINUTE, SECOND, Policy, RateLimit, Retries, Route
from tocsin.core.model.silence import parse_matcher


class Scenario(NamedTuple):
    """A story that must come out as it is told. shows: what it shows, in a sentence."""

    name: str
    shows: str
    policy: Policy
    story: str


def house_rules(
    *targets: str, rate_limit: RateLimit | None = None, retries: Retries | None = None, **root: object
) -> Policy:
    """Make a policy with one route, `default`: each alert an incident of its own, told at once, without a limit.

    targets: `anna` (by e-mail) or `ops@webhook`; anna if there are none. root: what the route says otherwise.
    """
    fields = {"name": "default", "group_by": (ALL_LABELS,), **root}
    named = [target.partition("@") for target in targets or ("anna",)]
    return Policy(
        routes=Route(**fields),  # type: ignore[arg-type]
        targets=tuple(
            Target(id=name, channel=channel or "email", address=f"{name}@gate.invalid")
            for name, _, channel in named
        ),
        rate_limit=rate_limit,
        retries=retries or Retries(),
    )


BY_TEAM: tuple[Route, ...] = (
    Route(name="db", matchers=(parse_matcher("team=db"),), continue_=True, channels=("email",)),
    Route(name="teams", matchers=(parse_matcher("team=~db|web"),), channels=("webhook",)),
)

SCENARIOS = (
    Scenario(
        "duplicates",
        "A look that is sent twice is counted and told once; another look is an occurrence; a worse one is told.",
        house_rules(),
        """
    09:00  alert   disk warning host=a
    09:00  so      opened #1
    09:00  turn    #1 OPEN  because no incident with its route and group is open
    09:00  page    anna  opened #1 warning  because something is wrong that this target was not told of
    09:01  alert   disk warning host=a looked 09:00
    09:01  so      duplicate #1
    09:02  alert   disk warning host=a
    09:02  so      occurrence #1
    09:03  alert   disk error host=a looked 09:02
    09:03  so      occurrence #1
    09:03  page    anna  updated #1 error  because alerts joined, cleared or rose since this target was told
    09:04  over    disk host=a looked 09:04
    09:04  so      resolved #1
    09:04  turn    #1 RESOLVED  because all of its alerts are clear; the last by: its source says that it is over
    09:04  page    anna  resolved #1 error  because it is over, and this target was told of it
    09:05  alert   disk error host=a looked 09:02
    09:05  so      duplicate
    09:10  quiet
""",
    ),
    Scenario(
        "groups",
        "Alerts of one group are told together: first after the wait, then once an interval.",
        house_rules(group_by=("team",), group_wait=30 * SECOND, group_interval=5 * MINUTE),
        """
    09:00     alert   disk warning team=db host=a
    09:00     so      opened #1
    09:00     turn    #1 OPEN  because no incident with its route and group is open
    09:00:10  alert   disk warning team=db host=b
    09:00:10  so      joined #1
    09:00:20  alert   disk warning team=web host=c
    09:00:20  so      opened #2
    09:00:20  turn    #2 OPEN  because no incident with its route and group is open
    09:00:30  page    anna  opened #1 warning  because something is wrong that this target was not told of
    09:00:50  page    anna  opened #2 warning  because something is wrong that this target was not told of
    09:01     alert   disk warning team=db host=d
    09:01     so      joined #1
    09:02     over    disk team=db host=a
    09:02     so      cleared #1
    09:05:30  page    anna  updated #1 warning  because alerts joined, cleared or rose since this target was told
    09:06     quiet
""",
    ),
    Scenario(
        "routes",
        "An alert belongs to each route that takes it, and each tells its own people; what no branch takes is told to all.",
        house_rules("dba", "ops@webhook", "chat@teams", routes=BY_TEAM),
        """
    09:00  alert   disk warning team=db host=a
    09:00  so      opened #1, opened #2
    09:00  turn    #1 OPEN  because no incident with its route and group is open
    09:00  page    dba  opened #1 warning  because something is wrong that this target was not told of
    09:00  turn    #2 OPEN  because no incident with its route and group is open
    09:00  page    ops  opened #2 warning  because something is wrong that this target was not told of
    09:01  alert   disk warning team=web host=b
    09:01  so      opened #3
    09:01  turn    #3 OPEN  because no incident with its route and group is open
    09:01  page    ops  opened #3 warning  because something is wrong that this target was not told of
    09:02  alert   disk warning host=c
    09:02  so      opened #4
    09:02  turn    #4 OPEN  because no incident with its route and group is open
    09:02  page    dba, ops, chat  opened #4 warning  because something is wrong that this target was not told of
    09:03  over    disk team=db host=a
    09:03  so      resolved #1, resolved #2
    09:03  turn    #1 RESOLVED  because all of its alerts are clear; the last by: its source says that it is over
    09:03  page    dba  resolved #1 warning  because it is over, and this target was told of it
    09:03  turn    #2 RESOLVED  because all of its alerts are clear; the last by: its source says that it is over
    09:03  page    ops  resolved #2 warning  because it is over, and this target was told of it
    09:10  quiet
""",
    ),
    Scenario(
        "rate limit",
        "A rule that shouts is told in a digest; other rules, the first word at critical, and ends are not held back.",
        house_rules(rate_limit=RateLimit(limit=2)),
        """
    09:00  alert   disk warning host=a
    09:00  so      opened #1
    09:00  turn    #1 OPEN  because no incident with its route and group is open
    09:00  page    anna  opened #1 warning  because something is wrong that this target was not told of
    09:01  alert   disk warning host=b
    09:01  so      opened #2
    09:01  turn    #2 OPEN  because no incident with its route and group is open
    09:01  page    anna  opened #2 warning  because something is wrong that this target was not told of
    09:02  alert   disk warning host=c
    09:02  so      opened #3
    09:02  turn    #3 OPEN  because no incident with its route and group is open
    09:02  hold    anna  opened #3 rate_limited  because rule disk had 2 notifications in 60 min
    09:03  alert   load warning host=c
    09:03  so      opened #4
    09:03  turn    #4 OPEN  because no incident with its route and group is open
    09:03  page    anna  opened #4 warning  because something is wrong that this target was not told of
    09:04  alert   disk critical host=d
    09:04  so      opened #5
    09:04  turn    #5 OPEN  because no incident with its route and group is open
    09:04  page    anna  opened #5 critical  because something is wrong that this target was not told of
    09:06  alert   disk warning host=e
    09:06  so      opened #6
    09:06  turn    #6 OPEN  because no incident with its route and group is open
    09:06  hold    anna  opened #6 rate_limited  because rule disk had 2 notifications in 60 min
    09:07  page    anna  digest #0 warning  because the rate limit withheld 2 notifications
    09:08  over    disk host=c
    09:08  so      resolved #3
    09:08  turn    #3 RESOLVED  because all of its alerts are clear; the last by: its source says that it is over
    09:09  over    disk host=a
    09:09  so      resolved #1
    09:09  turn    #1 RESOLVED  because all of its alerts are clear; the last by: its source says that it is over
    09:09  page    anna  resolved #1 warning  because it is over, and this target was told of it
    09:10  alert   disk warning host=g
    09:10  so      opened #7
    09:10  turn    #7 OPEN  because no incident with its route and group is open
    09:10  hold    anna  opened #7 rate_limited  because rule disk had 2 notifications in 60 min
    09:37  page    anna  digest #0 warning  because the rate limit withheld 1 notifications
    09:40  quiet
    10:00  alert   disk warning host=f
    10:00  so      opened #8
    10:00  turn    #8 OPEN  because no incident with its route and group is open
    10:00  page    anna  opened #8 warning  because something is wrong that this target was not told of
    10:01  quiet
""",
    ),
    Scenario(
        "silence over",
        "What a silence hid is told when it ends, unless it is over by then; who was told of it hears of its end.",
        house_rules(),
        """
    09:00  hush    rule_id=disk until 10:00
    09:05  alert   disk warning host=a
    09:05  so      opened #1
    09:05  turn    #1 OPEN  because no incident with its route and group is open
    09:05  hold    anna  opened #1 suppressed  because silences cover all of its alerts
    09:06  alert   load warning host=a
    09:06  so      opened #2
    09:06  turn    #2 OPEN  because no incident with its route and group is open
    09:06  page    anna  opened #2 warning  because something is wrong that this target was not told of
    09:10  alert   disk warning host=b
    09:10  so      opened #3
    09:10  turn    #3 OPEN  because no incident with its route and group is open
    09:10  hold    anna  opened #3 suppressed  because silences cover all of its alerts
    09:20  over    disk host=b
    09:20  so      resolved #3
    09:20  turn    #3 RESOLVED  because all of its alerts are clear; the last by: its source says that it is over
    09:30  alert   disk critical host=a
    09:30  so      occurrence #1
    09:30  hold    anna  opened #1 suppressed  because silences cover all of its alerts
    10:00  page    anna  opened #1 critical  because something is wrong that this target was not told of
    10:00  quiet
    10:10  hush    rule_id=disk until 11:00
    10:20  over    disk host=a
    10:20  so      resolved #1
    10:20  turn    #1 RESOLVED  because all of its alerts are clear; the last by: its source says that it is over
    10:20  hold    anna  resolved #1 suppressed  because silences cover all of its alerts
    11:00  page    anna  resolved #1 critical  because it is over, and this target was told of it
    11:30  quiet
""",
    ),
    Scenario(
        "silenced incident",
        "An incident that somebody silenced says nothing, and speaks again when that runs out or somebody takes it.",
        house_rules(),
        """
    09:00  alert   disk warning host=a
    09:00  so      opened #1
    09:00  turn    #1 OPEN  because no incident with its route and group is open
    09:00  page    anna  opened #1 warning  because something is wrong that this target was not told of
    09:01  silence anna #1 until 10:00
    09:01  so      changed #1
    09:01  turn    #1 SILENCED  because anna asked for silence while it was OPEN
    09:30  alert   disk critical host=a
    09:30  so      occurrence #1
    09:30  hold    anna  updated #1 suppressed  because the incident is silenced
    10:00  turn    #1 OPEN  because its silence ran out
    10:00  page    anna  updated #1 critical  because alerts joined, cleared or rose since this target was told
    10:30  quiet
    10:31  silence anna #1
    10:31  so      changed #1
    10:31  turn    #1 SILENCED  because anna asked for silence while it was OPEN
    10:40  ack     ben #1
    10:40  so      changed #1
    10:40  turn    #1 ACK  because ben asked for ack while it was SILENCED
    10:41  unsilence ben #1
    10:41  so      refused: Incident #1 is ACK, so it cannot take unsilence.
    10:50  quiet
""",
    ),
    Scenario(
        "greens",
        "Three greens in a row of one scope clear its alert; another scope's do not count, and the incident waits for all.",
        house_rules(group_by=("team",), group_interval=0),
        """
    09:00  alert   disk warning team=db host=a
    09:00  so      opened #1
    09:00  turn    #1 OPEN  because no incident with its route and group is open
    09:00  page    anna  opened #1 warning  because something is wrong that this target was not told of
    09:00  alert   disk warning team=db host=b
    09:00  so      joined #1
    09:00  page    anna  updated #1 warning  because alerts joined, cleared or rose since this target was told
    09:01  green   disk team=db host=a
    09:01  so      green_counted #1
    09:02  green   disk team=db host=b
    09:02  so      green_counted #1
    09:03  green   disk team=db host=a
    09:03  so      green_counted #1
    09:04  alert   disk warning team=db host=a
    09:04  so      occurrence #1
    09:05  green   disk team=db host=a
    09:05  so      green_counted #1
    09:05  green   disk team=db host=a looked 09:05
    09:05  so      duplicate #1
    09:06  green   disk team=db host=a
    09:06  so      green_counted #1
    09:07  green   disk team=db host=a
    09:07  so      cleared #1
    09:07  page    anna  updated #1 warning  because alerts joined, cleared or rose since this target was told
    09:08  green   disk team=db host=b
    09:08  so      green_counted #1
    09:09  green   disk team=db host=b
    09:09  so      resolved #1
    09:09  turn    #1 RESOLVED  because all of its alerts are clear; the last by: 3 consecutive green looks
    09:09  page    anna  resolved #1 warning  because it is over, and this target was told of it
    09:10  green   disk team=db host=b
    09:10  so      no_incident
    09:30  quiet
""",
    ),
    Scenario(
        "auto resolution",
        "So many greens as the route asks for resolve the incident; a firing look begins the count anew.",
        house_rules(greens=2),
        """
    09:00  alert   disk warning host=a
    09:00  so      opened #1
    09:00  turn    #1 OPEN  because no incident with its route and group is open
    09:00  page    anna  opened #1 warning  because something is wrong that this target was not told of
    09:01  ack     anna #1
    09:01  so      changed #1
    09:01  turn    #1 ACK  because anna asked for ack while it was OPEN
    09:10  green   disk host=a
    09:10  so      green_counted #1
    09:11  alert   disk warning host=a
    09:11  so      occurrence #1
    09:12  green   disk host=a
    09:12  so      green_counted #1
    09:13  green   disk host=a
    09:13  so      resolved #1
    09:13  turn    #1 RESOLVED  because all of its alerts are clear; the last by: 2 consecutive green looks
    09:13  page    anna  resolved #1 warning  because it is over, and this target was told of it
    09:30  quiet
""",
    ),
    Scenario(
        "reopening",
        "What comes back soon is the same incident; what somebody resolved while it fires is held for a while first.",
        house_rules(),
        """
    09:00  alert   disk warning host=a
    09:00  so      opened #1
    09:00  turn    #1 OPEN  because no incident with its route and group is open
    09:00  page    anna  opened #1 warning  because something is wrong that this target was not told of
    09:10  over    disk host=a
    09:10  so      resolved #1
    09:10  turn    #1 RESOLVED  because all of its alerts are clear; the last by: its source says that it is over
    09:10  page    anna  resolved #1 warning  because it is over, and this target was told of it
    09:14  alert   disk warning host=a
    09:14  so      reopened #1
    09:14  turn    #1 OPEN  because it came back soon after the incident was resolved
    09:14  page    anna  opened #1 warning  because something is wrong that this target was not told of
    09:20  resolve anna #1
    09:20  so      changed #1
    09:20  turn    #1 RESOLVED  because anna asked for resolve while it was OPEN
    09:20  page    anna  resolved #1 warning  because it is over, and this target was told of it
    09:22  alert   disk warning host=a
    09:22  so      held #1
    09:26  alert   disk warning host=a
    09:26  so      reopened #1
    09:26  turn    #1 OPEN  because it was resolved by hand, but its alert still fires
    09:26  page    anna  opened #1 warning  because something is wrong that this target was not told of
    09:27  over    disk host=a
    09:27  so      resolved #1
    09:27  turn    #1 RESOLVED  because all of its alerts are clear; the last by: its source says that it is over
    09:27  page    anna  resolved #1 warning  because it is over, and this target was told of it
    09:40  alert   disk warning host=a
    09:40  so      opened #2
    09:40  turn    #2 OPEN  because no incident with its route and group is open
    09:40  page    anna  opened #2 warning  because something is wrong that this target was not told of
    09:41  reopen  anna #1
    09:41  so      refused: Incident #1 cannot be reopened: #2 has taken its place.
    09:50  quiet
""",
    ),
    Scenario(
        "reminders",
        "Who does not answer is reminded; an acknowledgement stops that, and taking it back begins it anew.",
        house_rules(),
        """
    09:00  alert   disk warning host=a
    09:00  so      opened #1
    09:00  turn    #1 OPEN  because no incident with its route and group is open
    09:00  page    anna  opened #1 warning  because something is wrong that this target was not told of
    13:00  page    anna  reminder #1 warning  because nobody acknowledged it for the repeat interval
    13:30  ack     anna #1
    13:30  so      changed #1
    13:30  turn    #1 ACK  because anna asked for ack while it was OPEN
    20:00  quiet
    20:30  unack   ben #1
    20:30  so      changed #1
    20:30  turn    #1 OPEN  because ben asked for unack while it was ACK
    20:30  page    anna  reminder #1 warning  because nobody acknowledged it for the repeat interval
    20:31  unack   ben #1
    20:31  so      refused: Incident #1 is OPEN, so it cannot take unack.
    00:30  page    anna  reminder #1 warning  because nobody acknowledged it for the repeat interval
    01:00  quiet
""",
    ),
    Scenario(
        "acknowledgement lapses",
        "An acknowledgement that nobody renews lapses, and the reminders go on.",
        house_rules(ack_timeout=70 * MINUTE, repeat_interval=2 * HOUR),
        """
    09:00  alert   disk warning host=a
    09:00  so      opened #1
    09:00  turn    #1 OPEN  because no incident with its route and group is open
    09:00  page    anna  opened #1 warning  because something is wrong that this target was not told of
    09:10  ack     anna #1
    09:10  so      changed #1
    09:10  turn    #1 ACK  because anna asked for ack while it was OPEN
    09:20  alert   disk error host=a
    09:20  so      occurrence #1
    09:20  page    anna  updated #1 error  because alerts joined, cleared or rose since this target was told
    10:20  turn    #1 OPEN  because the acknowledgement by anna lapsed
    11:20  page    anna  reminder #1 error  because nobody acknowledged it for the repeat interval
    11:30  ack     ben #1
    11:30  so      changed #1
    11:30  turn    #1 ACK  because ben asked for ack while it was OPEN
    12:40  turn    #1 OPEN  because the acknowledgement by ben lapsed
    13:20  page    anna  reminder #1 error  because nobody acknowledged it for the repeat interval
    13:30  quiet
""",
    ),
    Scenario(
        "severity",
        "A rise is told at once, even while somebody has it; what joins then, and a fall, are not.",
        house_rules(group_by=("team",)),
        """
    09:00  alert   disk warning team=db host=a
    09:00  so      opened #1
    09:00  turn    #1 OPEN  because no incident with its route and group is open
    09:00  page    anna  opened #1 warning  because something is wrong that this target was not told of
    09:01  alert   disk warning team=db host=b
    09:01  so      joined #1
    09:02  alert   disk error team=db host=a
    09:02  so      occurrence #1
    09:02  page    anna  updated #1 error  because alerts joined, cleared or rose since this target was told
    09:03  ack     anna #1
    09:03  so      changed #1
    09:03  turn    #1 ACK  because anna asked for ack while it was OPEN
    09:10  alert   disk error team=db host=c
    09:10  so      joined #1
    09:11  alert   disk critical team=db host=c
    09:11  so      occurrence #1
    09:11  page    anna  updated #1 critical  because alerts joined, cleared or rose since this target was told
    09:12  alert   disk warning team=db host=a
    09:12  so      occurrence #1
    09:30  quiet
""",
    ),
    Scenario(
        "lifecycle",
        "What the state of an incident does not allow is refused, and what is so already changes nothing.",
        house_rules(),
        """
    09:00  alert   disk warning host=a
    09:00  so      opened #1
    09:00  turn    #1 OPEN  because no incident with its route and group is open
    09:00  page    anna  opened #1 warning  because something is wrong that this target was not told of
    09:01  ack     anna #1
    09:01  so      changed #1
    09:01  turn    #1 ACK  because anna asked for ack while it was OPEN
    09:02  ack     ben #1
    09:02  so      unchanged #1
    09:03  resolve ben #1
    09:03  so      changed #1
    09:03  turn    #1 RESOLVED  because ben asked for resolve while it was ACK
    09:03  page    anna  resolved #1 warning  because it is over, and this target was told of it
    09:04  ack     ben #1
    09:04  so      refused: Incident #1 is RESOLVED, so it cannot take ack.
    09:05  unsilence ben #1
    09:05  so      refused: Incident #1 is RESOLVED, so it cannot take unsilence.
    09:06  resolve anna #7
    09:06  so      refused: There is no incident #7.
""",
    ),
    Scenario(
        "retries",
        "An attempt that failed is made again, later and later, until it gets through.",
        house_rules(),
        """
    09:00     down    email
    09:00     alert   disk warning host=a
    09:00     so      opened #1
    09:00     turn    #1 OPEN  because no incident with its route and group is open
    09:00     page    anna  opened #1 warning  because something is wrong that this target was not told of
    09:00     fail    anna  opened #1 retry  because attempt 1 failed
    09:00:01  fail    anna  opened #1 retry  because attempt 2 failed
    09:00:03  fail    anna  opened #1 retry  because attempt 3 failed
    09:00:07  fail    anna  opened #1 retry  because attempt 4 failed
    09:00:24  fail    anna  opened #1 retry  because attempt 5 failed
    09:01:36  fail    anna  opened #1 retry  because attempt 6 failed
    09:02     up      email
    09:07:17  done    anna  opened #1 delivered  because the receiver confirmed it
    09:30     quiet
""",
    ),
    Scenario(
        "giving up",
        "A delivery that cannot be made for too long is given up, and somebody is told so through another channel.",
        house_rules("anna", "ops@webhook", retries=Retries(steps=(MINUTE, 2 * MINUTE), give_up=6 * MINUTE)),
        """
    09:00     down    email
    09:00     alert   disk warning host=a
    09:00     so      opened #1
    09:00     turn    #1 OPEN  because no incident with its route and group is open
    09:00     page    anna, ops  opened #1 warning  because something is wrong that this target was not told of
    09:00     fail    anna  opened #1 retry  because attempt 1 failed
    09:01:04  fail    anna  opened #1 retry  because attempt 2 failed
    09:03:10  fail    anna  opened #1 retry  because attempt 3 failed
    09:05:26  fail    anna  opened #1 retry  because attempt 4 failed
    09:06     fail    anna  opened #1 dead  because given up after trying for so long
    09:06     page    ops  meta #1 warning  because a notification through email is dead
    09:30     quiet
""",
    ),
    Scenario(
        "refusal",
        "What a receiver does not want is not tried again; that too is told through another channel.",
        house_rules("anna", "ops@webhook"),
        """
    09:00  refuses email
    09:00  alert   disk warning host=a
    09:00  so      opened #1
    09:00  turn    #1 OPEN  because no incident with its route and group is open
    09:00  page    anna, ops  opened #1 warning  because something is wrong that this target was not told of
    09:00  fail    anna  opened #1 dead  because refused; trying again cannot help
    09:00  page    ops  meta #1 warning  because a notification through email is dead
    09:30  quiet
""",
    ),
    Scenario(
        "merging",
        "Who could not be reached hears one word for all that happened meanwhile.",
        house_rules("anna", "ops@webhook", retries=Retries(steps=(20 * SECOND, MINUTE))),
        """
    09:00     down    email
    09:00     alert   disk warning host=a
    09:00     so      opened #1
    09:00     turn    #1 OPEN  because no incident with its route and group is open
    09:00     page    anna, ops  opened #1 warning  because something is wrong that this target was not told of
    09:00     fail    anna  opened #1 retry  because attempt 1 failed
    09:00:21  fail    anna  opened #1 retry  because attempt 2 failed
    09:00:30  alert   disk critical host=a
    09:00:30  so      occurrence #1
    09:00:30  drop    anna  opened #1 merged  because a newer notification says it too
    09:00:30  page    anna  opened #1 critical  because something is wrong that this target was not told of
    09:00:30  page    ops  updated #1 critical  because alerts joined, cleared or rose since this target was told
    09:00:30  fail    anna  opened #1 retry  because attempt 1 failed
    09:00:51  fail    anna  opened #1 retry  because attempt 2 failed
    09:01     over    disk host=a
    09:01     so      resolved #1
    09:01     turn    #1 RESOLVED  because all of its alerts are clear; the last by: its source says that it is over
    09:01     drop    anna  opened #1 merged  because a newer notification says it too
    09:01     page    anna, ops  resolved #1 critical  because it is over, and this target was told of it
    09:01     fail    anna  resolved #1 retry  because attempt 1 failed
    09:01:20  fail    anna  resolved #1 retry  because attempt 2 failed
    09:02     up      email
    09:02:23  done    anna  resolved #1 delivered  because the receiver confirmed it
    10:00     quiet
""",
    ),
    Scenario(
        "dry run",
        "A dry run is decided and recorded, opens nothing and reaches nobody; what is sent by hand is never limited.",
        house_rules("anna", "ops@webhook", rate_limit=RateLimit(limit=0)),
        """
    09:00  down    email
    09:00  try     disk critical host=a
    09:00  so      dry_run
    09:00  mock    anna, ops  manual #0 critical  because somebody asked for it, as a dry run
    09:01  try     disk critical host=a via webhook
    09:01  so      dry_run
    09:01  mock    ops  manual #0 critical  because somebody asked for it, as a dry run
    09:02  up      email
    09:02  send    disk warning host=a via webhook
    09:02  so      opened #1
    09:02  turn    #1 OPEN  because no incident with its route and group is open
    09:02  page    ops  manual #1 warning  because somebody asked for it
    09:03  send    disk warning host=a
    09:03  so      occurrence #1
    09:03  page    anna, ops  manual #1 warning  because somebody asked for it
    09:10  quiet
""",
    ),
    Scenario(
        "expiry",
        "An alert is over when nobody vouches for it any more, by its own end or by that of its route.",
        house_rules(resolve_timeout=30 * MINUTE),
        """
    09:00  alert   disk warning host=a until 09:10
    09:00  so      opened #1
    09:00  turn    #1 OPEN  because no incident with its route and group is open
    09:00  page    anna  opened #1 warning  because something is wrong that this target was not told of
    09:01  alert   load warning host=a until 09:10
    09:01  so      opened #2
    09:01  turn    #2 OPEN  because no incident with its route and group is open
    09:01  page    anna  opened #2 warning  because something is wrong that this target was not told of
    09:05  alert   disk warning host=a until 09:20
    09:05  so      occurrence #1
    09:10  turn    #2 RESOLVED  because all of its alerts are clear; the last by: nobody has vouched for it since its end
    09:10  page    anna  resolved #2 warning  because it is over, and this target was told of it
    09:20  turn    #1 RESOLVED  because all of its alerts are clear; the last by: nobody has vouched for it since its end
    09:20  page    anna  resolved #1 warning  because it is over, and this target was told of it
    09:40  alert   cpu warning host=a
    09:40  so      opened #3
    09:40  turn    #3 OPEN  because no incident with its route and group is open
    09:40  page    anna  opened #3 warning  because something is wrong that this target was not told of
    10:00  alert   cpu warning host=a
    10:00  so      occurrence #3
    10:30  turn    #3 RESOLVED  because all of its alerts are clear; the last by: nobody has vouched for it since its end
    10:30  page    anna  resolved #3 warning  because it is over, and this target was told of it
    11:00  quiet
""",
    ),
    Scenario(
        "restart",
        "What waits goes out after a restart, and the time in which nobody listened is not held against an alert.",
        house_rules(),
        """
    09:00     down    email
    09:00     hush    rule_id=load until 10:00
    09:00:30  alert   disk warning host=a until 09:10
    09:00:30  so      opened #1
    09:00:30  turn    #1 OPEN  because no incident with its route and group is open
    09:00:30  page    anna  opened #1 warning  because something is wrong that this target was not told of
    09:00:30  fail    anna  opened #1 retry  because attempt 1 failed
    09:00:31  fail    anna  opened #1 retry  because attempt 2 failed
    09:00:33  fail    anna  opened #1 retry  because attempt 3 failed
    09:00:37  fail    anna  opened #1 retry  because attempt 4 failed
    09:00:40  alert   load warning host=a
    09:00:40  so      opened #2
    09:00:40  turn    #2 OPEN  because no incident with its route and group is open
    09:00:40  hold    anna  opened #2 suppressed  because silences cover all of its alerts
    09:00:53  fail    anna  opened #1 retry  because attempt 5 failed
    09:01     stop
    09:05     up      email
    09:06     start
    09:06     done    anna  opened #1 delivered  because the receiver confirmed it
    09:20:06  turn    #1 RESOLVED  because all of its alerts are clear; the last by: nobody has vouched for it since its end
    09:20:06  page    anna  resolved #1 warning  because it is over, and this target was told of it
    09:30     quiet
    10:00     page    anna  opened #2 warning  because something is wrong that this target was not told of
    10:10     quiet
""",
    ),
)
