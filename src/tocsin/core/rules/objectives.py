"""Objectives: each is a rule that fires when its error budget burns too fast; and what is left of the budget."""

from tocsin.core.model.rule import Ask, BurnRate, Rule, Slo


def rule_of(slo: Slo) -> Rule:
    """Give the rule of an objective. Its window is the longest in which the budget's use is looked at."""
    return Rule(
        rule_id=slo.name,
        description=slo.description,
        source=slo.source,
        every=slo.every,
        window=max((tier.long for tier in slo.tiers), default=slo.window),
        trigger=BurnRate(objective=slo.objective, good=slo.good, total=slo.total, tiers=slo.tiers),
        scope=slo.scope,
        labels=slo.labels,
        by=slo.by,
        owner=slo.owner,
        runbook=slo.runbook,
        zone=slo.zone,
        enabled=slo.enabled,
    )


def budget_asks(slo: Slo, at: int) -> tuple[Ask, Ask]:
    """Give the questions that tell what is left of the budget at a moment: good and total over its window."""
    good, total = (
        Ask(name=name, query=query, since=at - slo.window, until=at, zone=slo.zone)
        for name, query in (("good", slo.good), ("total", slo.total))
    )
    return good, total
