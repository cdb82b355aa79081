-- A state without a number that has this table has all of the version: it comes last.
create table if not exists work (
    job bigint primary key,
    group_id uuid,
    said text not null default '',
    at timestamptz not null default now()
);

update state set schema_version = 2;
