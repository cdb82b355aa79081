-- People, what nodes and clients did, and who was let in from where.
insert into client_network values (2, '127.0.0.0/8');
insert into client (name, role) values ('sealed', 'reader');
insert into client_certificate values (3, sha256('certificate'), 'sealed');
insert into client_traffic (hour, client, calls, refused, waits_ended, waits_cut, cut_moments)
values (date_trunc('hour', now()), 1, 5, 0, 1, 0, 0);
insert into node (id, name, started_at, heard_at, reads_from, behind)
values ('22222222-2222-2222-2222-222222222222', 'here/1', '2026-11-22', '2026-11-22', 'the primary', 0);
insert into node_sample (node, seconds, held, changes, commits, wakes)
values ('22222222-2222-2222-2222-222222222222', 2, 0, 0, 0, 0);
insert into person (name, role, password_hash) values ('ada', 'operator', 'x');
insert into person_organization values (1, 1);
insert into person_session (token_hash, person, form_token) values ('\x00', 1, 'form');
insert into sign_in_failure (name, address) values ('eve', '127.0.0.1');
insert into audit_event (actor_kind, actor, organization, action, notification_type, ids)
values ('client', 'maple', 3, 'wrote', 'Mark', '{m1}');
insert into audit_event (actor_kind, actor, action, detail) values ('person', 'ada', 'did', 'signed in');
