-- Emma was granted to the other school, which sees what follows her: not the mark that is deleted.
insert into history (epoch, reason, begun_above, kept) select epoch, 'made', 0, '{}' from core;
update core set system_identifier = (select system_identifier from pg_control_system()),
                timeline = ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::integer;
insert into access_grant (student, organization) values ('100000001', 4);
insert into association values ('100000001', 3, 'created', '100000001', '2026-11-22', '2028-11-22', true),
                               ('100000001', 4, 'granted', '', '2026-11-22', null, true);
insert into access_event (student, organization, cause, source, begun) values ('100000001', 4, 'granted', '', true);
insert into missing_organization values ('S.0999', '100000001');
insert into access_trigger (student, due_on) values ('100000001', '2100-01-01');
insert into viewer (notification_type, id, organization, version, state)
select notification_type, id, 4, version, 'live' from record where student is not null and not deleted;
insert into version_mark values ('2026-11-22', 9);
insert into client_stream (client, organization, notification_type, asked_at, cursor, told_reason, told_records)
values (1, 3, 'Note', now(), 16, 'none', 0);
