"""Mistakes in settings: what is replaced in a good file, by what, and what is said of it."""

FAULTS = [
    (
        "absences = 3",
        "absense = 3",
        "line 32, entity.Section.absense: there is no such setting; did you mean absences?",
    ),
    (
        "[hub]",
        "[hubb]",
        "line 9, hubb: there is no such setting; did you mean hub?",
    ),
    (
        '"MAPLE_KEY"',
        '"hr_s3cret"',
        "line 18, secrets.hub_key: this is not the name of an environment variable; put it there and "
        'write hub_key = "HOMEROOM_KEY"; if this was the secret, change it',
    ),
    (
        "core.example",
        "me:pw@core.example",
        "line 10, hub.url: there is a password in this URL; take it out and name it under [secrets]",
    ),
    (
        '"https://core.example.org"',
        '"core"',
        'line 10, hub.url: this is no URL; write url = "https://core.example.org"',
    ),
    (
        '"csv"',
        '"cvs"',
        "line 14, connector.kind: there is no connector cvs; did you mean csv?",
    ),
    (
        "folder =",
        "path =",
        'line 13, connector.folder: this is missing; write folder = "/srv/sis-exports"',
    ),
    (
        '"resolveAsSis"',
        '"resolveAsSIS "',
        'line 21, defaults.method: "resolveAsSIS " is none of manual, resolveAsHub, resolveAsSis, '
        "alwaysHub, alwaysSis, newest; did you mean resolveAsSis?",
    ),
    (
        '"persistHub"]',
        '"persist"]',
        'line 26, entity.Student.steps: "persist" is none of fetchHub, fetchSis, persistHub, persistSis;'
        " did you mean persistSis?",
    ),
    (
        "updates = 50",
        "updates = 150",
        "line 22, defaults.guards.updates: this is per cent, not 150; write updates = 10, or updates = "
        "false for no limit",
    ),
    (
        "absences = 3",
        "absences = 0",
        "line 32, entity.Section.absences: 0 is too small; 1 is the least",
    ),
    (
        "absences = 3",
        "absences = true",
        "line 32, entity.Section.absences: this is a whole number, not true or false; write absences = 2",
    ),
    (
        "[2026, 2027]",
        "[26]",
        "line 25, entity.Student.school_years: this is no school year; write four digits, as in [2026, 2027]",
    ),
    (
        "[2026, 2027]",
        '["2026"]',
        "line 25, entity.Student.school_years: a text does not belong into this list; write school_years"
        " = [2026, 2027]",
    ),
    (
        '"/grade"',
        '"grade"',
        'line 27, entity.Student.fields.grade: a field is named by its JSON pointer; write "/grade" = "..."',
    ),
    (
        'member = "status"',
        "",
        'line 33, entity.Section.delete_policy.member: this is missing; write member = "status" and '
        'value = "inactive", say',
    ),
    (
        "starts = 2026-08-15",
        'starts = "2026"',
        "line 40, seasons.0.starts: this is a date, not a text; write starts = 2026-09-01, without quotes",
    ),
    (
        "ends = 2026-09-15",
        "",
        "line 38, seasons.0.ends: this is missing; write ends = 2026-09-01, without quotes",
    ),
    (
        "ends = 2026-06-26",
        "ends = 2026-06-01",
        "line 47, blackouts.0.ends: this is before it starts; both days are included",
    ),
    (
        '"30 1 * * *"',
        '"nightly"',
        'line 7, feed.nightly: this is no cron line; write nightly = "30 1 * * *" for half past one each night',
    ),
    (
        '"30 1 * * *"',
        '"30 1 31 2 *"',
        'line 7, feed.nightly: this is no cron line; write nightly = "30 1 * * *" for half past one each night',
    ),
    (
        "alarm_hours = 36",
        'nightly_until = "6"',
        'line 6, feed.nightly_until: this is no time of day; write nightly_until = "06:00"',
    ),
    (
        '["S.0982", "S.0983"]',
        "[]",
        'line 4, feed.schools: no school is named; write schools = ["S.0982"], the codes that it speaks for',
    ),
    (
        '"https://core.example.org"',
        '"https://core.example.org?api_key=abc"',
        "line 10, hub.url: there is a password in this URL; take it out and name it under [secrets]",
    ),
    (
        '"/grade"',
        '"a\\"b"',
        'line 27, entity.Student.fields."a\\"b": a field is named by its JSON pointer; write "/a"b" = "..."',
    ),
]
