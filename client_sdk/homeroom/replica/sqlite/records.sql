-- The table of one notification type; {table} is records_ and its name, {view} its name, a dot being an underscore.
-- The sequence says in which order versions were applied here, across all types.
create table "{table}" (
    sequence integer primary key,
    id text not null,
    version integer not null,
    -- When the body last changed, set by the Core (UTC); null for records that came with their status.
    changed_at text,
    deleted integer not null,
    -- Of a status: the version of the source that it was calculated from.
    source_version integer,
    body text not null,
    -- CRC-32 of id and body, begun with twice the version (one more if deleted): a row that others change disagrees.
    checksum integer not null
);
