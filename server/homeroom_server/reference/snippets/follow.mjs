// Keeps School.json in step, for as long as it runs.   node follow.mjs School
import { createHash } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { call } from "./calling.mjs";
import { OTHER_HISTORY, firstLoad, save } from "./first_load.mjs";
import { get } from "./get.mjs";

const WAIT_SECONDS = 50;

/** Apply every change as it comes; prove by the hash that nothing is missing. */
async function follow(kind, state) {
  for (;;) {
    const news = await ask(kind, state);
    if (news.reason === "mismatch") { // the Core has something else than we hold
      state = await firstLoad(kind);
      console.log(`${kind} loaded anew: ${Object.keys(state.records).length} records`);
    } else {
      const wanted = news.records.map(({ id, coreVersion }) => ({ id, expectedVersion: coreVersion }));
      for await (const record of get(kind, wanted)) apply(kind, state.records, record);
      state.cursor = news.maxCoreVersion;
    }
    save(kind, state);
  }
}

/** What is new; held by the Core until something is, or the wait ends. */
async function ask(kind, { cursor, records }) {
  const stream = { notificationType: kind, maxCoreVersion: cursor, versionHash: versionHash(records) };
  try {
    const answer = await call("POST", "/v1/is-data-available", { waitSeconds: WAIT_SECONDS, types: [stream] });
    return answer.types[0];
  } catch (refused) {
    if (refused.problem?.code !== OTHER_HISTORY) throw refused;
    return { reason: "mismatch" };
  }
}

/** Your own work begins here. */
function apply(kind, records, record) {
  let said = "changed";
  if (record.availability !== "Normal") said = "dropped"; // we may see it no longer
  else if (record.deleted) said = "deleted";
  if (said === "changed") records[record.id] = { version: record.coreVersion, body: record.body };
  else delete records[record.id];
  console.log(kind, record.id, said);
}

/** MD5 over the versions of all that is held, ascending, each as 8 bytes big-endian. */
function versionHash(records) {
  const versions = Object.values(records).map((record) => record.version).sort((a, b) => a - b);
  const packed = Buffer.alloc(8 * versions.length);
  versions.forEach((version, index) => packed.writeBigInt64BE(BigInt(version), 8 * index));
  return createHash("md5").update(packed).digest("hex");
}

const [kind] = process.argv.slice(2);
const saved = `${kind}.json`;
await follow(kind, existsSync(saved) ? JSON.parse(readFileSync(saved, "utf8")) : await firstLoad(kind));
