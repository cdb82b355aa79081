"""Rules for tests: every record gets an advice, so that there is something to acknowledge."""

from collections.abc import Iterable

from homeroom_server.rule_set import Alert, AlertType, Related, RuleSet, Source


def always(source: Source, related: Related) -> Iterable[Alert]:
    yield Alert(90001, AlertType.ADVICE, "This is a test", {"Id": source.id})


RULES = RuleSet(rules=(always,))
