"""Who sees which record, kept true while records, grants, organisations and days change (protocol 8, decision 9)."""
