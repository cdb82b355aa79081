-- What a Core of the first released schema has written: a school with a student, two marks, one of them deleted.
insert into organization (code, name, parent, lineage)
values ('O.1', 'Ministry', null, '{}'), ('A.3020', 'Foothills', 1, '{2}'), ('S.0982', 'Maple Ridge', 2, '{3,2}'),
       ('S.0983', 'Elk Valley', 2, '{4,2}');
insert into client (name, role) values ('maple', 'writer'), ('elk', 'writer');
insert into client_organization values (1, 3), (2, 4);
insert into record_type (name)
values ('Student'), ('StudentStatus'), ('Mark'), ('MarkStatus'), ('Note'), ('Document'), ('DocumentStatus'), ('Enrolment');
insert into notification_type (record_type, school_year, watermark, horizon)
values (1, 0, 10, 0), (2, 0, 11, 0), (3, 0, 14, 0), (5, 0, 16, 15), (6, 0, 17, 0);
insert into record (record_type, id, notification_type, version, body_version, source_version, owner, student, deleted,
                    changed_at, body)
values (1, '100000001', 1, 10, 10, null, 3, '100000001', false, '2026-11-22', '{"name": "Emma"}'),
       (2, '100000001', 2, 11, 11, 10, 3, '100000001', false, '2026-11-22', '{"alerts": []}'),
       (3, 'm1', 3, 12, 12, null, 3, '100000001', false, '2026-11-22', '{"studentId": "100000001", "decision": {"approved": true}}'),
       (3, 'm2', 3, 14, 14, null, 3, '100000001', true, '2026-11-22', '{"studentId": "100000001"}'),
       (5, 'n1', 4, 16, 16, null, 3, null, false, '2026-11-22', '{"text":  "as it was stored"}'),
       (6, 'd1', 5, 17, 17, null, 3, '100000001', false, '2026-11-22', '{"studentId": "100000001"}');
insert into viewer (notification_type, id, organization, version, state)
select r.notification_type, r.id, o, r.version, (case when r.deleted then 'deleted' else 'live' end)::visibility
from record r cross join unnest(array[2, 3]) as o;
insert into status_trigger (record_type, id, due_at, changed) values (3, 'm1', '2100-01-01', false);
insert into missing_reference values (3, 'm1', 1, '300000003');
insert into idempotent_call (client, organization, key, request_hash, answer, called_at)
values (1, 3, '11111111-1111-1111-1111-111111111111', '\x00', '{}', now());
select setval('core_version', 17);
