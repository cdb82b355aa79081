create index concurrently if not exists record_awaiting on record (subject) where awaiting is not null;

create index concurrently if not exists record_failing on record (subject)
where hub_state = 'failed' or sis_state = 'failed';
