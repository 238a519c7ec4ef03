"""Rules: sources, rules and objectives from their forms, and the files of `rules/` beside the configuration."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, assert_never

from pydantic import TypeAdapter, ValidationError

from tocsin.core.model.alert import OWN_LABELS, Severity
from tocsin.core.model.errors import Invalid
from tocsin.core.model.policy import DAY, SECOND
from tocsin.core.model.rule import (
    Absent,
    Break,
    BurnRate,
    DeltaPct,
    Limit,
    Limits,
    NoData,
    Op,
    Outlier,
    Period,
    Reduce,
    Rule,
    Side,
    Slo,
    Slope,
    Threshold,
    Tier,
    Trigger,
)
from tocsin.core.rules import failing, objectives, slo, triggers
from tocsin.settings.document import Document, Key
from tocsin.settings.model import HttpSettings, PrometheusSettings, SourceSettings, SqlSettings
from tocsin.settings.problems import Problem
from tocsin.settings.rule_forms import (
    AbsentForm,
    BreakForm,
    BurnRateForm,
    DeltaPctForm,
    HttpForm,
    NamedForm,
    OutlierForm,
    PrometheusForm,
    RuleForm,
    SloForm,
    SlopeForm,
    SourceForm,
    SqlForm,
    ThresholdForm,
    TierForm,
)
from tocsin.settings.takes import Surroundings, did_you_mean

WINDOW_MAX = 400 * DAY

CheckQuery = Callable[[str], None]
TrySource = Callable[[SourceSettings], CheckQuery]
"""Makes a source and gives what tries a query on it. Both raise Invalid; of a source, the field is a key."""

_SOURCE: TypeAdapter[Any] = TypeAdapter(SourceForm)


class Part(NamedTuple):
    """A file with rules. path: None for the configuration itself."""

    path: Path | None
    document: Document


class Known(dict[str, CheckQuery]):
    """What tries a query, by the name of the source. all_named: False if there are sources whose names nobody knows."""

    all_named = True


class Found(NamedTuple):
    """All rules of all files, with those of the objectives; and the objectives."""

    rules: tuple[Rule, ...]
    slos: tuple[Slo, ...]


def source_of(form: SqlForm | PrometheusForm | HttpForm) -> SourceSettings:
    """Give the settings of one source."""
    timeout_s = form.timeout / SECOND
    match form:
        case SqlForm():
            return SqlSettings(
                name=form.name,
                url=form.url,
                timeout_s=timeout_s,
                rows_max=form.rows_max,
                connections=form.connections,
                files=form.files or "",
                trust_readonly=form.trust_readonly,
            )
        case PrometheusForm():
            return PrometheusSettings(
                name=form.name, url=form.url, headers=tuple(form.headers.items()), timeout_s=timeout_s
            )
        case HttpForm():
            return HttpSettings(
                name=form.name, url=form.url, headers=tuple(form.headers.items()), timeout_s=timeout_s
            )
        case _:
            assert_never(form)


def sources_of(
    document: Document, around: Surroundings, try_source: TrySource
) -> tuple[Known, list[Problem]]:
    """Make every source that is well-formed, and say what is wrong with the others, which count as there too."""
    checks = Known()
    checks.all_named = _are_listed(document)
    problems: list[Problem] = []
    for key, raw in _listed(document, "sources"):
        name = raw.get("name") if isinstance(raw, dict) else None
        if not isinstance(name, str):
            checks.all_named = False
            continue
        checks[name] = _anything
        try:
            checks[name] = try_source(source_of(_SOURCE.validate_python(raw, context=around)))
        except ValidationError:
            continue  # What is wrong with its form is told elsewhere.
        except Invalid as error:
            inner = (*key, error.field) if error.field else key
            problems.append(Problem(document.place_of(inner), inner, str(error)))
    return checks, problems


def _are_listed(document: Document) -> bool:
    """Say whether the sources can be told from what stands in the file, ill-formed as it may be."""
    data = document.data
    if not isinstance(data, dict) or any(flaw.key[:1] == ("sources",) for flaw in document.flaws):
        return False
    if "sources" in data:
        return isinstance(data["sources"], list)
    return not any(did_you_mean(name, ("sources",)) for name in data)


def rules_of(
    parts: Sequence[Part], sources: Mapping[str, CheckQuery], around: Surroundings
) -> tuple[Found, list[Problem]]:
    """Make the rules of all files, and say all that is wrong with those that are well-formed.

    sources: what tries a query, by the name of the source.
    """
    rules: list[Rule] = []
    slos: list[Slo] = []
    problems = list(_twice(parts))
    for part in parts:
        for key, form in _well_formed(part.document, around):
            wrong = [*_name_problems(form), *_label_problems(form), *_source_problems(form, sources)]
            wrong += _query_problems(form, sources.get(form.source, _anything))
            if isinstance(form, RuleForm):
                rule, more = _rule(form)
                wrong += more
                rules += [rule] if rule is not None else []
            else:
                made = _slo(form)
                slos.append(made)
                rule = objectives.rule_of(made)
                wrong += [((), what) for _, what in triggers.check(rule)]
                if form.tiers is None and form.window < slo.WINDOW_MIN:
                    wrong.append(
                        (
                            ("window",),
                            "For less than a day there are no usual tiers. Give `tiers`, or 1d or more.",
                        )
                    )
                rules.append(rule)
            problems += [
                Problem(part.document.place_of((*key, *inner)), (*key, *inner), message, part.path)
                for inner, message in wrong
            ]
    return Found(tuple(rules), tuple(slos)), problems


def _twice(parts: Sequence[Part]) -> Iterator[Problem]:
    """Find names that stand twice, whatever else is wrong with what they name."""
    first: dict[str, tuple[Path | None, Key, int]] = {}
    for part in parts:
        for section, name_key in (("rules", "rule_id"), ("slos", "name")):
            for key, raw in _listed(part.document, section):
                name = raw.get(name_key) if isinstance(raw, dict) else None
                if not isinstance(name, str):
                    continue
                place = part.document.place_of((*key, name_key))
                path, known, line = first.setdefault(name, (part.path, key, place.line))
                if (path, known) != (part.path, key):
                    where = "" if path == part.path else f"{path or 'the configuration'}, "
                    message = f"{name[:80]!r} is the name in {where}line {line} too."
                    message += " Give each rule and objective its own."
                    yield Problem(place, (*key, name_key), message, part.path)


def _well_formed(document: Document, around: Surroundings) -> Iterator[tuple[Key, RuleForm | SloForm]]:
    """Give each by itself, so that one that is ill-formed does not hide what is wrong with the others."""
    forms: tuple[tuple[str, type[RuleForm] | type[SloForm]], ...] = (("rules", RuleForm), ("slos", SloForm))
    for section, kind in forms:
        for key, raw in _listed(document, section):
            try:
                yield key, kind.model_validate(raw, context=around)
            except ValidationError:
                continue


def _listed(document: Document, section: str) -> Iterator[tuple[Key, Any]]:
    listed = document.data.get(section) if isinstance(document.data, dict) else None
    for index, raw in enumerate(listed if isinstance(listed, list) else []):
        yield (section, index), raw


def _anything(query: str) -> None:
    """Take any query: there is nobody who could say what is wrong with it."""


def _query_problems(form: RuleForm | SloForm, check: CheckQuery) -> Iterator[tuple[Key, str]]:
    queries: list[tuple[Key, str | None]] = []
    if isinstance(form, SloForm):
        queries += [(("good",), form.good), (("total",), form.total)]
    else:
        queries.append((("query",), form.query))
        if isinstance(form.trigger, BurnRateForm):
            queries += [(("trigger", "good"), form.trigger.good), (("trigger", "total"), form.trigger.total)]
    for key, query in queries:
        try:
            check(query or "")
        except Invalid as error:
            if query is not None:
                yield key, str(error)


def _name_problems(form: RuleForm | SloForm) -> Iterator[tuple[Key, str]]:
    name, key = (form.rule_id, "rule_id") if isinstance(form, RuleForm) else (form.name, "name")
    if name == failing.RULE_ID:
        said = (
            f"{name!r} is Tocsin's own rule, for sources that give no answer. Call this one something else."
        )
        yield (key,), said


def _label_problems(form: NamedForm) -> Iterator[tuple[Key, str]]:
    listed: list[tuple[Key, str]] = [(("by", index), name) for index, name in enumerate(form.by or [])]
    for key, name in [
        *((("scope", name), name) for name in form.scope),
        *((("labels", name), name) for name in form.labels),
        *listed,
    ]:
        if name in OWN_LABELS:
            yield (
                key,
                f"`{name}` is a field of every alert, so no label is called so. Call it something else.",
            )


def _source_problems(form: NamedForm, sources: Mapping[str, CheckQuery]) -> Iterator[tuple[Key, str]]:
    if form.source not in sources and getattr(sources, "all_named", True):
        known = list(sources)
        there = f" Configured: {', '.join(known[:20])}." if known else " No source is configured."
        meant = did_you_mean(form.source, known) or there
        yield ("source",), f"Source {form.source!r} is not configured.{meant}"
    for name in form.scope.keys() & form.labels.keys():
        yield ("labels", name), f"Label {name!r} is in `scope` too. Give it once."


def _rule(form: RuleForm) -> tuple[Rule | None, list[tuple[Key, str]]]:
    problems: list[tuple[Key, str]] = []
    trigger = _trigger(form, problems)
    burns = isinstance(form.trigger, BurnRateForm)
    if burns is (form.query is not None):
        what = (
            "brings its own queries, `good` and `total`. Delete this one"
            if burns
            else "asks for `query`. Add it"
        )
        problems.append((("query",) if burns else (), f"A rule with this trigger {what}."))
    if form.window > WINDOW_MAX:
        problems.append((("window",), "A window has at most 400 days."))
    if trigger is None:
        return None, problems
    rule = Rule(
        rule_id=form.rule_id,
        query=form.query or "",
        window=max(tier.long for tier in trigger.tiers) if isinstance(trigger, BurnRate) else form.window,
        step=form.step or 0,
        trigger=trigger,
        looks=form.for_[0],
        of=form.for_[1],
        no_data=NoData(form.no_data),
        **_common(form),
    )
    problems += [(("trigger", *_key(where)), what) for where, what in triggers.check(rule)]
    return rule, problems


def _key(where: str) -> Key:
    return tuple(
        int(part) if part.isdecimal() else part
        for part in where.replace("[", ".").replace("]", "").split(".")
    )


def _common(form: NamedForm) -> dict[str, Any]:
    return {
        "description": form.description or "",
        "source": form.source,
        "every": form.every,
        "scope": dict(form.scope),
        "labels": dict(form.labels),
        "by": None if form.by is None else tuple(form.by),
        "owner": form.owner or "",
        "runbook": form.runbook or "",
        "zone": form.zone,
        "enabled": form.enabled,
    }


def _trigger(rule: RuleForm, problems: list[tuple[Key, str]]) -> Trigger | None:
    form = rule.trigger
    if isinstance(form, BurnRateForm):
        if rule.severity is not None:
            problems.append((("severity",), "The tiers of the trigger say how severe it is. Delete this."))
        return BurnRate(
            objective=round(form.objective / 100, 12),
            good=form.good,
            total=form.total,
            tiers=_tiers(form.tiers, 30 * DAY),
        )
    limits = _limits(rule, problems)
    if limits is None:
        return None
    match form:
        case ThresholdForm():
            return Threshold(op=Op(form.op), limits=limits, reduce=Reduce(form.reduce))
        case DeltaPctForm():
            return DeltaPct(
                op=Op(form.op), limits=limits, against=Period(form.against), reduce=Reduce(form.reduce)
            )
        case SlopeForm():
            return Slope(op=Op(form.op), limits=limits, per=form.per)
        case BreakForm():
            return Break(limits=limits, k=form.k, baseline=form.baseline, side=Side(form.side))
        case OutlierForm():
            return Outlier(limits=limits, side=Side(form.side))
        case AbsentForm():
            return Absent(limits=limits)
        case _:
            assert_never(form)


def _limits(rule: RuleForm, problems: list[tuple[Key, str]]) -> Limits | None:
    form = rule.trigger
    assert not isinstance(form, BurnRateForm)
    name = "after" if isinstance(form, AbsentForm) else "h" if isinstance(form, BreakForm) else "value"
    one: float | None = getattr(form, name)
    if (one is None) is (form.limits is None):
        problems.append((("trigger",), f"A trigger has either `{name}` or `limits`."))
        return None
    unit = SECOND if isinstance(form, AbsentForm) else 1
    if one is not None:
        if rule.severity is None:
            problems.append(((), "`severity` is missing. Add it: info, warning, error or critical."))
            return None
        return (Limit(one / unit, Severity(rule.severity)),)
    assert form.limits is not None
    if rule.severity is not None:
        problems.append((("severity",), "The `limits` of the trigger say how severe it is. Delete this."))
    if isinstance(form, AbsentForm):
        return tuple(Limit(limit.after / SECOND, Severity(limit.severity)) for limit in form.limits or ())
    return tuple(Limit(limit.value, Severity(limit.severity)) for limit in form.limits)


def _slo(form: SloForm) -> Slo:
    return Slo(
        name=form.name,
        objective=round(form.objective / 100, 12),
        window=form.window,
        good=form.good,
        total=form.total,
        tiers=_tiers(form.tiers, form.window),
        **_common(form),
    )


def _tiers(forms: list[TierForm] | None, window: int) -> tuple[Tier, ...]:
    if forms is None:
        return slo.tiers(window)
    return tuple(
        Tier(long=form.long, short=form.short, factor=form.factor, severity=Severity(form.severity))
        for form in forms
    )
