create index concurrently if not exists record_erased on record (id) where erased;

create index concurrently if not exists audit_event_did on audit_event (happened_at) where action = 'did';
