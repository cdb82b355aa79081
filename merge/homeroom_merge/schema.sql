-- The only DDL of the merge pipeline's state. Applied as a whole at first use, inside one transaction, into a schema
-- of its own, so that it may share a database with a Core.

create schema homeroom_merge;
set local search_path = homeroom_merge;

-- One row: what is true of the whole state.
create table state (
    singleton boolean primary key default true check (singleton),
    schema_version integer not null,
    -- The lowest schema whose pipelines can work on this one: older ones refuse to.
    works_from integer not null,
    -- Under which the names of erased students are hashed.
    erasure_secret bytea not null default sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()))
);

-- One SIS source, speaking for named schools.
create table feed (
    number integer primary key generated always as identity,
    name text collate "C" not null unique,
    -- The settings in force: a row of settings.
    state_name text not null,
    paused_at timestamptz,
    paused_because text
);

-- What a feed keeps to itself: AES-256-GCM, bound to the names of feed and secret, under a key that is kept elsewhere.
create table feed_secret (
    feed integer not null references feed,
    name text collate "C" not null,
    -- The nonce, then what was encrypted, then its tag.
    ciphertext bytea not null,
    -- Which key: the first characters of a hash of it.
    key_id text not null,
    set_at timestamptz not null default now(),
    set_by text not null,
    primary key (feed, name)
);

-- Settings as versioned states: every version that was ever in force or tried, as the TOML that was pushed.
create table settings (
    feed integer not null references feed,
    state_name text not null,
    version integer not null,
    toml text not null,
    comment text not null,
    pushed_at timestamptz not null default now(),
    pushed_by text not null,
    primary key (feed, state_name, version)
);

-- Days, both included, on which another state is in force than the feed's own; of several the one that begins last.
create table settings_days (
    feed integer not null references feed,
    first_day date not null,
    last_day date not null,
    state_name text not null,
    primary key (feed, first_day),
    check (first_day <= last_day)
);

-- Whose records these are: one kind of record of one feed. Numbers keep the large tables narrow.
create table subject (
    number integer primary key generated always as identity,
    feed integer not null references feed,
    entity text collate "C" not null,
    -- The member that names a record's student, as the hub's catalogue has it; `@id`: each is one. Null: no student's.
    student text,
    -- Up to where each side has been fetched; moves in the transaction that stores what was seen.
    hub_cursor text,
    hub_epoch text,
    hub_fetched_at timestamptz,
    sis_cursor text,
    sis_fetched_at timestamptz,
    -- When the SIS was last asked for everything: deltas since then say nothing of deletes.
    sis_whole_at timestamptz,
    -- The columns that complete feeds had: one that goes missing is known by it, until somebody approves of a feed
    -- without it; and those of the last complete feed.
    sis_columns text[],
    sis_columns_shown text[],
    unique (feed, entity)
);

-- What the last fetch of a side showed of a record.
create type seen_state as enum ('live', 'deleted', 'absent', 'outOfView', 'failed');

-- A record: its link, what both sides last agreed on (base) and what each was last seen to be. Bodies are canonical
-- JSON text (sorted members), so that equal texts are equal bodies and PostgreSQL tells who has changed.
create table record (
    number bigint primary key generated always as identity,
    subject integer not null references subject,
    sis_key text collate "C",
    hub_id text collate "C",
    school text collate "C",
    school_year integer,
    -- What else identifies it (a student number), for proposals of re-keys.
    identifier text collate "C",
    base_hub text,
    base_sis text,
    base_deleted boolean not null default false,
    -- What else the base says: values that an undo took back, members that the SIS spoke of, a deactivation.
    base_more text,
    -- What the base will be once the SIS shows what was written to it, and since when.
    awaiting text,
    awaiting_since timestamptz,
    -- The link was given up when one side deleted the record and the policy ignores that.
    unlinked boolean not null default false,
    hub_state seen_state not null default 'absent',
    hub_seen text,
    hub_version bigint not null default 0,
    hub_changed_at timestamptz,
    sis_state seen_state not null default 'absent',
    sis_seen text,
    sis_covered text[],
    sis_token text,
    sis_changed_at timestamptz,
    -- Complete feeds in a row in which it was absent.
    sis_absences integer not null default 0,
    -- The faults for which a side's record was left out, for reports and health.
    hub_faults text,
    sis_faults text,
    check (sis_key is not null or hub_id is not null)
);

create unique index record_by_sis_key on record (subject, sis_key) where sis_key is not null;
create unique index record_by_hub_id on record (subject, hub_id) where hub_id is not null;
create index record_by_identifier on record (subject, identifier) where identifier is not null;
-- Few are awaited or fail, and every link and every plan asks for them.
create index record_awaiting on record (subject) where awaiting is not null;
create index record_failing on record (subject) where hub_state = 'failed' or sis_state = 'failed';

-- Whose a record is, as the side that knows it better names the student: `hub ID` or `sis KEY`. Null: no student's.
create function student_of(r homeroom_merge.record, member text) returns text language sql immutable
return case member
    when '@id' then coalesce('hub ' || r.hub_id, 'sis ' || r.sis_key)
    else coalesce('hub ' || coalesce(r.hub_seen::json ->> member, r.base_hub::json ->> member),
                  'sis ' || coalesce(r.sis_seen::json ->> member, r.base_sis::json ->> member))
end;

-- The key of what backups hold of a student, which is nowhere else: without it, that is gone wherever backups are.
create table student_key (
    feed integer not null references feed,
    -- As student_of has it.
    student text collate "C" not null,
    -- What lines of backups call it.
    id uuid not null unique default gen_random_uuid(),
    key bytea not null default sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())),
    primary key (feed, student)
);

-- Whom a feed may not bring back: HMAC-SHA256 of the student's names and of those of his records (homeroom_merge.erased).
create table erased_student (
    feed integer not null references feed,
    hash bytea not null,
    erased_at timestamptz not null default now(),
    erased_by text not null,
    reason text not null,
    primary key (feed, hash)
);

-- Whoever works on one subject, for as long as his heart beats.
create table run (
    id uuid primary key default gen_random_uuid(),
    subject integer not null references subject,
    -- Runs of one night or one command.
    group_id uuid not null,
    runner text not null,
    -- running | success | finishedWithIssues | noData | held | failed | cancelled
    status text not null default 'running',
    -- The settings by which it goes: '' and 0 where nobody pushed any.
    settings_state text not null default '',
    settings_version integer not null default 0,
    -- What was set for this run alone, by dotted path.
    overrides text not null default '{}',
    -- It stops at the plan.
    dry boolean not null default false,
    -- Its steps, notes and guard reasons as it goes, so that the report of one that was killed has them.
    log text not null default '{"steps": [], "notes": [], "guardReasons": []}',
    begun_at timestamptz not null default now(),
    beats_at timestamptz not null default now(),
    ended_at timestamptz,
    -- What undoes it, or what it undoes.
    undoes uuid references run,
    -- Who approved or discarded a held one, and when.
    decided_by text,
    decided_at timestamptz,
    -- Somebody wants it to end; who works on it looks here with each beat of its heart.
    cancel_asked_at timestamptz,
    report text
);

create index run_latest on run (subject, begun_at desc);
-- Whose heart has stopped is looked for often.
create index run_running on run (beats_at) where status = 'running';
-- Few are held, among all that a feed ever ran.
create index run_held on run (subject) where status = 'held';

-- The nightly run of a feed's local date: the key is why there is one, whoever looks at the clock.
create table night (
    feed integer not null references feed,
    local_date date not null,
    begins_at timestamptz not null,
    -- What has not begun by then is left for the next night.
    until timestamptz not null,
    -- The job of the queue that does it; null: none yet, or it was given back, to be handed out again from then on.
    job bigint,
    hand_out_at timestamptz not null default now(),
    -- Why it does not run: a pause, a blackout, or nothing that could be reached all night.
    skipped text,
    primary key (feed, local_date)
);

-- What came of a job of the queue: the runs that it began last, or why it began none.
create table work (
    job bigint primary key,
    group_id uuid,
    said text not null default '',
    at timestamptz not null default now()
);

-- A plan, record by record, with the exact bodies; kept with its run.
create table planned (
    run uuid not null references run on delete cascade,
    record bigint not null,
    change text not null,
    -- Deletes go last, and in the reverse order of entities.
    is_delete boolean not null,
    -- planned | halfway (all but the SIS has it) | done | conflict | waits | stale | failed | unknown
    outcome text not null default 'planned',
    detail text not null default '',
    primary key (run, record)
);

-- What failed verification when a run looked, for its report: the record may be mended since.
create table left_out (
    number bigint primary key generated always as identity,
    run uuid not null references run on delete cascade,
    side text not null,
    -- Null: it names no key that could be kept.
    record bigint,
    -- Where it stands, as people find it: `Student.csv row 17`.
    place text not null,
    faults text not null
);

create index left_out_of on left_out (run, record);

-- Every write to either side: the intent before it, the result after it. What has no result was cut by a crash.
create table journal (
    number bigint primary key generated always as identity,
    run uuid not null references run,
    record bigint not null,
    side text not null,
    kind text not null,
    -- Drawn here, so that a crash between intent and result repeats the same call.
    idempotency_key uuid not null,
    hub_id text,
    body text,
    expected_version bigint not null,
    -- What stood there: what an undo goes back to.
    before text,
    intended_at timestamptz not null default now(),
    -- done | moved | refused | transient | unknown; null: not known yet
    result text,
    detail text not null default '',
    core_version bigint,
    ended_at timestamptz
);

create index journal_open on journal (run) where result is null;
create index journal_record on journal (record);

-- How a conflict stands: open, a side can be taken; apart, it ends in a way of its own (a re-key, say); decided,
-- somebody has said how it ends since a merge last found it.
create type conflict_state as enum ('open', 'apart', 'decided');

-- Where both sides disagree and no rule decides: one row a field, until a later merge agrees. Null is absent.
create table conflict (
    record bigint not null references record on delete cascade,
    -- The record's: pages of a feed's conflicts are read and counted without its records.
    subject integer not null references subject,
    pointer text not null,
    stands conflict_state not null,
    base text,
    sis text,
    hub text,
    rule text not null,
    since timestamptz not null default now(),
    -- When a merge last found it so.
    found_at timestamptz not null default now(),
    primary key (record, pointer)
);

-- The inbox page by page, the oldest first, and its counts by field: the index alone tells both.
create index conflict_inbox on conflict (subject, stands, since, record, pointer);

-- What somebody decided in the inbox, and on which values. It goes once the base has moved.
create table decision (
    record bigint not null references record on delete cascade,
    pointer text not null,
    outcome text,
    base text,
    sis text,
    hub text,
    made_by text not null,
    made_at timestamptz not null default now(),
    primary key (record, pointer)
);

-- A record's own rule for a field.
create table own_rule (
    record bigint not null references record on delete cascade,
    pointer text not null,
    method text not null,
    made_by text not null,
    made_at timestamptz not null default now(),
    primary key (record, pointer)
);

-- Hand edits of the hub that stay until cleared.
create table sticky (
    record bigint not null references record on delete cascade,
    pointer text not null,
    made_by text not null,
    made_at timestamptz not null default now(),
    primary key (record, pointer)
);

-- What somebody said of two keys of the SIS that share an identifier: that the record once had this other key, or that
-- it is not the record that has it.
create table re_key (
    record bigint not null references record on delete cascade,
    sis_key text collate "C" not null,
    is_same boolean not null,
    made_by text not null,
    made_at timestamptz not null default now(),
    primary key (record, sis_key)
);

-- Fields written by runs in the last 24 hours: two systems that argue are known by it.
create table writing (
    record bigint not null references record on delete cascade,
    pointer text not null,
    before text,
    after text,
    written_at timestamptz not null default now()
);

create index writing_of on writing (record);
-- Those that are too old to count are removed by it.
create index writing_age on writing (written_at);

-- What a hook has told that day, of its feed's own zone: once is enough. Claimed before it is told, so that runs that
-- end together tell it once; a claim of somebody who died counts no longer after ten minutes.
create table told (
    feed integer not null references feed,
    -- As people call it: what it is, and whom it tells.
    hook text not null,
    occasion text not null,
    day date not null,
    claimed_at timestamptz not null default now(),
    told_at timestamptz,
    primary key (feed, hook, occasion, day)
);

-- Hooks that fail now, for health; and the runs of which the next group is to tell once more.
create table hook_failure (
    feed integer not null references feed,
    hook text not null,
    runs uuid[] not null,
    message text not null,
    first_seen timestamptz not null default now(),
    last_tried timestamptz not null default now(),
    primary key (feed, hook)
);

-- What is wrong with a record now, and since when: sis and hub (its verification failed), write, waits.
create table failing (
    record bigint not null references record on delete cascade,
    what text not null,
    message text not null,
    first_seen timestamptz not null default now(),
    last_tried timestamptz not null default now(),
    primary key (record, what)
);

-- What is dirty: the truth that jobs only point at. Removed by generation, in the transaction that stores the result.
create table trigger (
    subject integer not null references subject,
    -- A hub id or a SIS key, as the side that moved names it.
    side text not null,
    key text collate "C" not null,
    generation bigint not null default 1,
    -- Hub: the core version that it moved to, where whoever noticed knows it; else 0.
    version bigint not null default 0,
    raised_at timestamptz not null default now(),
    parked boolean not null default false,
    -- Why it is parked: tonight | held | conflict | waits | invalid | failed | stale | unknown.
    why text not null default '',
    -- The full run that found it here before it fetched, and removes it once it has merged everything.
    read_by uuid,
    primary key (subject, side, key)
);

-- Parked ones may be many, and every drain asks for the others.
create index trigger_dirty on trigger (subject, raised_at) where not parked;

-- What a run may have changed, as it was before: a file each, noted before it is begun and again once it is whole.
create table backup (
    run uuid primary key references run,
    place text not null,
    begun_at timestamptz not null default now(),
    -- Null: it was never completed, and there is at most a part of it.
    made_at timestamptz,
    records bigint,
    bytes bigint,
    -- SHA-256 of its lines.
    checksum text,
    -- When it was removed because its time was over.
    collected_at timestamptz
);

-- What a restore puts back, of each record that it changes: kept with its plan, which is made again if records move.
create table restoring (
    run uuid not null references run on delete cascade,
    record bigint not null,
    hub text,
    sis text,
    sis_covered text[],
    primary key (run, record)
);

-- Up to where a feed's watcher has heard of a type, as an organisation sees it: not how far it has been fetched.
create table heard (
    feed integer not null references feed,
    organization text collate "C" not null,
    notification_type text collate "C" not null,
    version bigint not null,
    epoch text not null,
    primary key (feed, organization, notification_type)
);

-- Signatures of webhook calls, each of which is taken once: kept until the timestamp that it signs is too old anyway.
create table webhook_call (
    signature bytea primary key,
    forget_at timestamptz not null
);

create index webhook_call_age on webhook_call (forget_at);

-- The files of a watched folder as they were when a run of them was last asked for.
create table watched_file (
    feed integer not null references feed,
    name text collate "C" not null,
    -- Size and time of change: one that has another is looked into.
    stamp text not null,
    -- SHA-256 of what is in it: one that has the same came again, and nothing is to be run.
    digest text not null,
    came_at timestamptz not null default now(),
    primary key (feed, name)
);
