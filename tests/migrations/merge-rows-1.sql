-- A feed with two records; they disagree on one of them.
insert into feed (name, state_name) values ('elk', 'default');
insert into settings (feed, state_name, version, toml, comment, pushed_by) values (1, 'default', 1, 'a = 1', '', 'me');
insert into subject (feed, entity, hub_cursor, sis_columns) values (1, 'Student', '17', '{id}');
insert into record (subject, sis_key, hub_id, base_hub, base_sis, awaiting, hub_state, hub_seen, sis_state, sis_seen)
values (1, 's1', '100000001', '{"name":"Emma"}', '{"name":"Emma"}', null, 'live', '{"name":"Emma"}', 'live', '{"name":"Em"}'),
       (1, 's2', '200000002', '{"name":"Noah"}', '{"name":"Noah"}', '{}', 'live', '{"name":"Noah"}', 'live', '{"name":"Noah"}');
insert into run (id, subject, group_id, runner, settings_version, status, ended_at)
values ('33333333-3333-3333-3333-333333333333', 1, gen_random_uuid(), 'me', 1, 'success', now());
insert into journal (run, record, side, kind, idempotency_key, expected_version, result)
values ('33333333-3333-3333-3333-333333333333', 1, 'hub', 'update', gen_random_uuid(), 10, 'done');
insert into conflict (record, pointer, sis, hub, rule) values (1, '/name', '"Em"', '"Emma"', 'manual'),
                                                               (2, '', null, null, 'proposed re-key');
insert into trigger (subject, side, key) values (1, 'sis', 's1');
