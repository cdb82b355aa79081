-- A student who was erased, and the key of one who was not.
insert into erased_student (student_hash, erased_at) values (sha256('300000003'), now());
update core set erasures = 1;
insert into student_key values ('100000001', sha256('key'));
