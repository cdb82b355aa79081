-- Conflicts by the hundred thousand; students who are erased; which version of the pipeline can work on the state.

alter table state
    add column if not exists erasure_secret bytea not null
        default sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())),
    add column if not exists works_from integer not null default 3;
alter table state alter column works_from drop default;

alter table subject add column if not exists student text;

create index if not exists run_held on run (subject) where status = 'held';

create or replace function student_of(r homeroom_merge.record, member text) returns text language sql immutable
return case member
    when '@id' then coalesce('hub ' || r.hub_id, 'sis ' || r.sis_key)
    else coalesce('hub ' || coalesce(r.hub_seen::json ->> member, r.base_hub::json ->> member),
                  'sis ' || coalesce(r.sis_seen::json ->> member, r.base_sis::json ->> member))
end;

create table if not exists student_key (
    feed integer not null references feed,
    student text collate "C" not null,
    id uuid not null unique default gen_random_uuid(),
    key bytea not null default sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())),
    primary key (feed, student)
);

create table if not exists erased_student (
    feed integer not null references feed,
    hash bytea not null,
    erased_at timestamptz not null default now(),
    erased_by text not null,
    reason text not null,
    primary key (feed, hash)
);

do $$
begin
    if to_regtype('conflict_state') is null then
        create type conflict_state as enum ('open', 'apart', 'decided');
    end if;
end $$;

-- The next run finds each conflict anew, and how it stands.
alter table conflict
    add column if not exists subject integer references subject,
    add column if not exists stands conflict_state;
update conflict c set subject = r.subject from record r where r.number = c.record and c.subject is null;
update conflict c set stands = (case when c.rule in ('proposed re-key', 'it moved each time it was about to be written', 'undo') then 'apart' when exists (
    select from decision d where d.record = c.record and d.pointer = c.pointer
    and (d.base, d.sis, d.hub) is not distinct from (c.base, c.sis, c.hub)
) then 'decided' else 'open' end)::conflict_state where c.stands is null;
alter table conflict alter column subject set not null, alter column stands set not null;

create index if not exists conflict_inbox on conflict (subject, stands, since, record, pointer);

update state set schema_version = 3, works_from = 3;
