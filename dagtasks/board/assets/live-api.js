/* Asking the server that shows the page, and what its answers mean. */

export const ROOT = new URL("../../", import.meta.url);
const API = new URL("api/v1/", ROOT);

/* What the server would not do. `field` names what it is about; `faults` are all of them, where there are several. */
export class Trouble extends Error {
  constructor(status, problem = {}) {
    super(problem.detail || problem.title || `The server answered ${status}.`);
    this.status = status;
    this.hint = problem.hint || "";
    this.faults = problem.errors || (problem.field ? [{ field: problem.field, message: this.message }] : []);
    this.problems = problem.problems || []; // in files: each with its line
    this.mayIgnore = status === 409 && this.hint.includes("--ignore-dependencies");
  }
}

const GONE = {
  detail: "The server cannot be reached.",
  hint: "Is dagtasks serve still running? What you typed stays here: start it again, then try again.",
};
const SIGNED_OUT = {
  detail: "You are not signed in any more.",
  hint: "Open a new link of dagtasks serve in another tab, then try again here. What you typed stays.",
};

/* `data`, and the ETag that it has as `tag`. With `once` (an object of the caller's) something that is asked again, because
   the answer was not heard, is not done twice. Raises `Trouble`. */
export async function ask(method, path, { body, tag, once } = {}) {
  const headers = { Accept: "application/json" };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  if (tag) headers["If-Match"] = tag;
  if (once) headers["Idempotency-Key"] = keyFor(once, path + JSON.stringify(body));
  const options = { method, headers, body: body === undefined ? undefined : JSON.stringify(body), cache: "no-store" };
  const answer = await fetch(new URL(path, API), options).catch(() => { throw new Trouble(0, GONE); });
  const data = await answer.json().catch(() => undefined);
  if (answer.status === 401) throw new Trouble(401, SIGNED_OUT);
  if (!answer.ok) throw new Trouble(answer.status, data);
  return { data, tag: answer.headers.get("ETag") };
}

function keyFor(once, text) {
  if (once.text !== text) Object.assign(once, { text, key: Array.from(crypto.getRandomValues(new Uint32Array(4)), (n) => n.toString(16)).join("-") });
  return once.key;
}

/* All items of a list, page by page. */
export async function askAll(path) {
  const found = [];
  let cursor = "";
  do {
    const more = cursor ? `&cursor=${encodeURIComponent(cursor)}` : "";
    const { data } = await ask("GET", `${path}${path.includes("?") ? "&" : "?"}limit=200${more}`);
    found.push(...data.data);
    cursor = data.next;
  } while (cursor);
  return found;
}

/* What the server takes as the body of a request, as JSON Schema: forms are made of it. */
export async function readSchema(name) {
  readSchema.asked ??= ask("GET", "openapi.json").catch((trouble) => { readSchema.asked = null; throw trouble; });
  return (await readSchema.asked).data.components.schemas[name];
}

/* An address below the API: each part is escaped. */
export const path = (...parts) => parts.map(encodeURIComponent).join("/");

/* A stream of events: `tell` gets the name of each, and what it says; "open" when it begins, also when it begins again. */
export function follow(address, names, tell) {
  const source = new EventSource(new URL(address, API));
  source.addEventListener("open", () => tell("open"));
  source.addEventListener("error", () => tell("lost"));
  names.forEach((name) => source.addEventListener(name, (event) => tell(name, JSON.parse(event.data))));
  return source;
}
