-- A database without a number that has this table has all of the version: it comes last.
create table if not exists student_key (
    student text collate "C" primary key,
    key bytea not null check (octet_length(key) = 32)
);

update core set schema_version = 4;
