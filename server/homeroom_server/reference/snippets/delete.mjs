// Deletes a record; everybody who sees it is told.   node delete.mjs School 0982
import { getOne } from "./get.mjs";
import { report, submit } from "./submit.mjs";

const [kind, id] = process.argv.slice(2);
const found = await getOne(kind, id);
if (found.availability !== "Normal" || found.deleted) {
  console.error(`there is no ${kind} ${id}`);
  process.exit(1);
}
report(await submit(kind, { id, expectedVersion: found.coreVersion, deleted: true }));
