"""Student: 11001 birth date, 11002 secondary ASN, 11003 death, 11004 gender."""

from collections.abc import Iterable

from homeroom_server.rule_set import Alert, AlertType, Related, RuleSet, Source
from homeroom_server.status.rules.dates import date_of

_OLDEST_YEARS = 100


def birth_date_plausible(source: Source, related: Related) -> Iterable[Alert]:
    """Nobody at school was born tomorrow or a century ago."""
    born = date_of(source.body, "birthDate")
    if born is not None and not related.today.year - _OLDEST_YEARS <= born.year <= related.today.year:
        yield Alert(11001, AlertType.WARNING, "The birth date cannot be right", {"BirthDate": born.isoformat()})


def not_secondary(source: Source, related: Related) -> Iterable[Alert]:
    """A number that was joined to another is not to be used for new records (compare rule 9011)."""
    primary = source.body.get("primaryStateProvinceId")
    if isinstance(primary, str) and primary != source.id:
        arguments = {"StateProvinceId": source.id, "PrimaryStateProvinceId": primary}
        yield Alert(11002, AlertType.WARNING, "This is a secondary number of another student", arguments)


def death_dated(source: Source, related: Related) -> Iterable[Alert]:
    if source.body.get("isDeceased") and date_of(source.body, "dateOfDeath") is None:
        yield Alert(11003, AlertType.WARNING, "The student is deceased, but the date of death is missing")


def gender_known(source: Source, related: Related) -> Iterable[Alert]:
    if source.body.get("gender") == "Unknown":
        yield Alert(11004, AlertType.ADVICE, "The gender is recorded as unknown")


RULES = RuleSet(rules=(birth_date_plausible, not_secondary, death_dated, gender_known))
