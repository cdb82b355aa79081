// Records by their ids.   node get.mjs School 0982
import { call } from "./calling.mjs";

const PER_CALL = 1_000;

/** The records, each `{id, expectedVersion}` of `wanted`. */
export async function* get(kind, wanted) {
  while (wanted.length) {
    const answer = await call("POST", `/v1/get/${kind}`, { records: wanted.slice(0, PER_CALL) });
    yield* answer.records;
    wanted = wanted.slice(answer.records.length);
    // It has changed again: as it stands, and the next list names it once more.
    if (answer.stoppedAt !== null) wanted = [{ id: wanted[0].id }, ...wanted.slice(1)];
  }
}

/** One record as it stands. */
export async function getOne(kind, id) {
  for await (const record of get(kind, [{ id }])) return record;
}

if (process.argv[1].endsWith("get.mjs")) {
  const [kind, ...ids] = process.argv.slice(2);
  for await (const record of get(kind, ids.map((id) => ({ id })))) console.log(JSON.stringify(record));
}
