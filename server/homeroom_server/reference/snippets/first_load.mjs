// All records of a type, into School.json.   node first_load.mjs School
import { renameSync, writeFileSync } from "node:fs";
import { call } from "./calling.mjs";

export const OTHER_HISTORY = 2003;

/** The records by id, and the cursor from which to follow what changes. */
export async function firstLoad(kind) {
  let [records, after, window] = [{}, 0, ""];
  for (;;) {
    try {
      for await (const line of lines(`/v1/snapshot/${kind}?after=${after}${window}`)) {
        if ("until" in line) window = `&until=${line.until}`;
        else if ("bookmark" in line) return { cursor: line.bookmark, records };
        else {
          records[line.id] = { version: line.coreVersion, body: line.body };
          after = line.coreVersion;
        }
      }
    } catch (refused) {
      if (refused.problem?.code !== OTHER_HISTORY) throw refused;
      [records, after, window] = [{}, 0, ""]; // the Core was restored meanwhile: from the beginning
    }
    // The stream was cut: go on behind the last record, in the same window.
    await new Promise((resolve) => setTimeout(resolve, 1000));
  }
}

/** The lines of a stream, up to where it ends or is cut. */
async function* lines(path) {
  const stream = await call("GET", path, undefined, {}, (answer) => answer.body);
  let rest = "";
  try {
    for await (const text of stream.pipeThrough(new TextDecoderStream())) {
      const whole = (rest + text).split("\n");
      rest = whole.pop();
      yield* whole.map((line) => JSON.parse(line));
    }
  } catch (cut) {
    console.error(`the stream was cut: ${cut.message}`);
  }
}

/** Records and cursor together, or neither: they belong to each other. */
export function save(kind, state) {
  writeFileSync(`${kind}.json.new`, JSON.stringify(state));
  renameSync(`${kind}.json.new`, `${kind}.json`);
}

if (process.argv[1].endsWith("first_load.mjs")) {
  const [kind] = process.argv.slice(2);
  const state = await firstLoad(kind);
  save(kind, state);
  console.log(`${Object.keys(state.records).length} records, cursor ${state.cursor}`);
}
