// Puts members into a record, which is made if there is none.   node submit.mjs School 0982 '{"names": []}'
import { randomUUID } from "node:crypto";
import { call } from "./calling.mjs";
import { getOne } from "./get.mjs";

const VERSION_MISMATCH = 3004;

/** Its result. The key lets a call whose answer was lost be sent again: it is never done twice. */
export async function submit(kind, record) {
  const key = { "Idempotency-Key": randomUUID() };
  const answer = await call("POST", `/v1/submit/${kind}`, { records: [record] }, key);
  return answer.results[0];
}

/** The result of a change that keeps what others have written meanwhile. */
export async function put(kind, id, members) {
  for (;;) {
    const { body = {}, coreVersion: expectedVersion = 0 } = await getOne(kind, id);
    const result = await submit(kind, { id, expectedVersion, body: { ...body, ...members } });
    if (!result.rejections.some(({ code }) => code === VERSION_MISMATCH)) return result;
  }
}

/** A call that succeeded says nothing of its records: each has a result of its own. */
export function report({ id, coreVersion, rejections }) {
  if (!rejections.length) return console.log(`${id} stored as version ${coreVersion}`);
  for (const { code, title, detail, action, errors = [] } of rejections) {
    console.error(`${code} ${title}: ${detail} (what to do: ${action})`);
    for (const fault of errors) console.error(`   ${fault.pointer} ${fault.detail}`);
  }
  process.exitCode = 1;
}

if (process.argv[1].endsWith("submit.mjs")) {
  const [kind, id, members] = process.argv.slice(2);
  report(await put(kind, id, JSON.parse(members)));
}
