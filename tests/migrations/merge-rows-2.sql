-- Somebody has decided; nights have passed.
insert into decision (record, pointer, sis, hub, outcome, made_by) values (1, '/name', '"Em"', '"Emma"', '"Em"', 'me');
insert into planned (run, record, change, is_delete) values ('33333333-3333-3333-3333-333333333333', 1, '{}', false);
insert into night (feed, local_date, begins_at, until) values (1, '2026-11-22', now(), now());
insert into work (job, said) values (1, 'done');
insert into own_rule (record, pointer, method, made_by) values (2, '/name', 'hub', 'me');
insert into sticky (record, pointer, made_by) values (1, '/name', 'me');
insert into backup (run, place, made_at, records, bytes) values ('33333333-3333-3333-3333-333333333333', 'x', now(), 1, 1);
insert into feed_secret (feed, name, ciphertext, key_id, set_by) values (1, 'password', '\x00', 'k', 'me');
