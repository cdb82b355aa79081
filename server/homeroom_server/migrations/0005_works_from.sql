-- A schema says which nodes can work on it, and nodes of which schema they are. Those of before look for the number 1.

alter table core add column if not exists works_from integer not null default 4;
alter table core alter column works_from drop default;

alter table node add column if not exists schema_version integer;

update core set schema_version = 5, works_from = 4;
