-- Who sees a student's records is computed by the nodes that start next.
insert into access_trigger (student)
select distinct student from record where student is not null on conflict do nothing;

-- A database without a number that has this table has all of the version: it comes last.
create table if not exists history (
    epoch uuid primary key default gen_random_uuid(),
    begun_at timestamptz not null default now(),
    reason text not null,
    begun_above bigint not null,
    kept json not null
);

-- The history that goes on, on this server, so that nodes begin no other.
insert into history (epoch, reason, begun_above, kept)
select epoch, 'made', 0, '{}' from core on conflict do nothing;

update core set system_identifier = (select system_identifier from pg_control_system()),
                timeline = ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::integer
where system_identifier is null;

update core set schema_version = 2;
