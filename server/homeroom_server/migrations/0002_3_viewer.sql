-- The primary key tells the state as well; a database that has such a one keeps it.
do $$
begin
    if (select indnatts from pg_index where indexrelid = 'viewer_pkey'::regclass) = 3 then
        alter table viewer drop constraint viewer_pkey, add constraint viewer_pkey primary key using index viewer_pkey_next;
    end if;
    drop index if exists viewer_pkey_next;
end $$;
