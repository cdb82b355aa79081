create unique index concurrently if not exists viewer_pkey_next on viewer (notification_type, id, organization)
include (state);

create index concurrently if not exists viewer_gone on viewer (notification_type, version)
include (organization, state) where state <> 'live';
