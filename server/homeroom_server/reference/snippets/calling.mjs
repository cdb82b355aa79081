// Every call goes through here: it waits where that helps, and says what to do where it does not.

const { HOMEROOM_URL, HOMEROOM_KEY, HOMEROOM_ORGANIZATION } = process.env;
const HEADERS = { Authorization: `Bearer ${HOMEROOM_KEY}`, "Content-Type": "application/json" };
if (HOMEROOM_ORGANIZATION) HEADERS.Organization = HOMEROOM_ORGANIZATION; // needed by a client that acts for several
const ANSWER_SECONDS = 90; // longer than any wait below
const ATTEMPTS_MAX = 8;

/** The same call will not succeed later. `problem.action`: fix the request, resync what you hold, or stop. */
export class Refused extends Error {
  constructor(problem) {
    super(`${problem.code} ${problem.title}: ${problem.detail} (what to do: ${problem.action})`);
    this.problem = problem;
  }
}

/** What `read` makes of the answer, its JSON if nothing else is said, once there is one that is good. */
export async function call(method, path, body, headers = {}, read = (answer) => answer.json()) {
  let reason, retryAfter;
  for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
    try {
      const answer = await answered(method, path, body && JSON.stringify(body), { ...HEADERS, ...headers });
      if (answer.ok) return await read(answer);
      const problem = await problemOf(answer);
      if (problem.action !== "retry") throw new Refused(problem);
      [reason, retryAfter] = [problem.title, Number(answer.headers.get("Retry-After") ?? 0)];
    } catch (failure) {
      if (failure instanceof Refused) throw failure;
      [reason, retryAfter] = [failure.message, 0]; // the network, or a Core that restarts
    }
    const pause = retryAfter + Math.random() * 2 ** attempt; // chance keeps clients from coming back in step
    console.error(`waiting ${pause.toFixed(1)} s: ${reason}`);
    await new Promise((resolve) => setTimeout(resolve, 1000 * pause));
  }
  throw new Error(`no answer to ${method} ${path} after ${ATTEMPTS_MAX} attempts: ${reason}`);
}

/** An answer whose headers have come in time; a long body may take longer. */
async function answered(method, path, body, headers) {
  const patience = new AbortController();
  const timer = setTimeout(() => patience.abort(), 1000 * ANSWER_SECONDS);
  try {
    return await fetch(HOMEROOM_URL + path, { method, headers, body, signal: patience.signal });
  } finally {
    clearTimeout(timer);
  }
}

/** What the Core says is wrong; a proxy that gave up says nothing of the kind. */
async function problemOf(answer) {
  const { status, statusText, headers } = answer;
  const action = status >= 500 ? "retry" : "stop";
  const told = { code: status, title: statusText, detail: "not said by the Core", action };
  const isProblem = headers.get("Content-Type") === "application/problem+json";
  return isProblem ? { ...told, ...(await answer.json()) } : told;
}
