// Who am I, and for whom may I act?   node hello.mjs
import { call } from "./calling.mjs";

try {
  const hello = await call("GET", "/v1/hello");
  console.log(`${hello.client} (${hello.role}) acts for ${hello.organization}, and may act for:`);
  for (const { code, name } of hello.organizations) console.log(code, name);
} catch (refused) {
  console.error(refused.message);
  process.exit(1);
}
