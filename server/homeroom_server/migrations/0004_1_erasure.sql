-- Students can be erased, and backups forget them.

alter table core
    add column if not exists erasure_secret bytea not null
        default sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())),
    add column if not exists erasures bigint not null default 0;
alter table core alter column erasure_secret drop default;

alter table record add column if not exists erased boolean not null default false;

create table if not exists erased_student (
    student_hash bytea primary key check (octet_length(student_hash) = 32),
    listed_at timestamptz not null default now(),
    erased_at timestamptz
);

create or replace function refuse_to_change_audit() returns trigger language plpgsql as $$
begin
    if current_setting('homeroom.collects_audit', true) is distinct from 'yes' then
        raise exception 'the audit is only added to';
    end if;
    return coalesce(new, old);
end $$;
