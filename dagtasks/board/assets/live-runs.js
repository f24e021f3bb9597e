/* Workflows of a task, and their runs: bind a template, run it, watch it, end it, run it again, answer what it asks. */

import { ROOT, ask, askAll, follow, path } from "./live-api.js";
import { makeField } from "./live-fields.js";
import { openForm } from "./live-forms.js";
import { all, button, find, make, openConfirm, openDialog, same, say, showAnew, showValue, words } from "./live-parts.js";
import { given, tell } from "./live-tasks.js";

const page = (...parts) => new URL(`${path(...parts)}.html`, ROOT).href;
const flowOf = (task, name) => path("tasks", task, "workflows", name);

// -- fields for parameters --------------------------------------------------------------------------------------------------

const KINDS = { string: "area", integer: "integer", number: "number", boolean: "flag", object: "json" };

/* The field for a parameter of a template. `now` is the value that it has; text in place of another type is an expression. */
function makeParameter(name, spec, { now, otherwise } = {}) {
  const isText = typeof now === "string" && spec.type !== "string";
  const kind = isText ? "json" : spec.enum ? "choice" : spec.type === "array" ? (spec.items?.type === "string" ? "lines" : "json") : KINDS[spec.type];
  const without = otherwise ?? (spec.default === undefined || spec.default === null ? "" : `without: ${showValue(spec.default)}`);
  const hints = [spec.description, spec.type === "array" && kind === "lines" ? "one a line" : kind === "json" ? `JSON: ${spec.type}` : "", rangeOf(spec), kind === "choice" || kind === "flag" ? "" : without,
    spec.sensitive ? "kept out of records" : "", spec.deprecated ? "deprecated" : ""];
  return makeField(`parameters.${name}`, { enum: spec.enum }, {
    kind, label: name, rows: 1, reads: kind === "json" && !isText ? "json" : undefined, isPlain: true, none: without || "Not given",
    isRequired: Boolean(spec.required) && otherwise === undefined, help: hints.filter(Boolean).join("; "),
  });
}

function rangeOf({ minimum, maximum, pattern }) {
  const numbers = [minimum !== undefined && `from ${minimum}`, maximum !== undefined && `up to ${maximum}`].filter(Boolean).join(" ");
  return [numbers, pattern && `like ${pattern}`].filter(Boolean).join("; ");
}

const PREFIX = "parameters.";
const parametersOf = (values) => Object.fromEntries(Object.entries(given(values)).filter(([name]) => name.startsWith(PREFIX)).map(([name, value]) => [name.slice(PREFIX.length), value]));
const asFields = (parameters) => Object.fromEntries(Object.entries(parameters).map(([name, value]) => [PREFIX + name, value]));

// -- workflows of a task ----------------------------------------------------------------------------------------------------

/* First the template is chosen, then a form is made from its parameters. */
export async function addWorkflow(task) {
  const templates = await askAll("templates");
  if (!templates.length) return openDialog("There is no template", make("p", {}, "Make one first: ", make("code", {}, "dagtasks template new NAME")));
  const list = make("ul", { class: "dt-live-choices" }, ...templates.map((template) => make("li", {},
    button(template.name, () => { dialog.close(); fillWorkflow(task, template.name).catch(tell); }),
    make("span", { class: "dt-quiet" }, ` ${words(template.type)}${template.description ? `. ${template.description}` : ""}`))));
  const dialog = openDialog("Which template?", list);
  find("li button", list).focus();
  return dialog;
}

async function fillWorkflow(task, name) {
  const { data: template } = await ask("GET", path("templates", name));
  const own = makeField("name", {}, { kind: "text", isRequired: true, help: "What this workflow of the task is called: small letters, digits, - and _." });
  openForm({
    key: `workflow of ${task} by ${name}`, title: `New workflow by ${name}`, verb: "Create", lead: template.description,
    base: { name }, fields: [own, ...Object.entries(template.parameters).map(([each, spec]) => makeParameter(each, spec))],
    send: (values, { once }) => ask("POST", path("tasks", task, "workflows"), { body: { name: values.name ?? "", template: name, parameters: parametersOf(values) }, once }),
    done: ({ data }) => showAnew(`Created the workflow ${data.name}.`, { focus: runButton(data.name) }),
  });
}

const runButton = (name) => `[data-live-run="${CSS.escape(name)}"]`;

export async function editWorkflow(task, name) {
  const read = async () => {
    const [{ data, tag }] = await Promise.all([ask("GET", flowOf(task, name))]);
    return { tag, flow: data, base: asFields(data.parameters) };
  };
  const { tag, base, flow } = await read();
  const { data: template } = await ask("GET", path("templates", flow.template));
  const fields = Object.entries(template.parameters).map(([each, spec]) => makeParameter(each, spec, { now: flow.parameters[each] }));
  openForm({
    key: `workflow ${name} of ${task}`, title: `Edit the workflow ${name}`, lead: `Template ${flow.template}`, fields, base, tag, reread: read,
    send: async (values, state) => {
      const before = parametersOf(state.base), after = parametersOf(values), names = Object.keys({ ...before, ...after });
      const changed = names.filter((each) => !same(before[each], after[each]) && fields.some((field) => field.name === PREFIX + each));
      const patch = { parameters: Object.fromEntries(changed.map((each) => [each, after[each] ?? null])) };
      return changed.length ? ask("PATCH", flowOf(task, name), { body: patch, tag: state.tag }) : null;
    },
    done: (answer) => showAnew(answer ? `Saved the workflow ${name}.` : `Nothing of the workflow ${name} was changed.`, { focus: runButton(name) }),
  });
}

export async function removeWorkflow(task, name) {
  const { tag } = await ask("GET", flowOf(task, name));
  openConfirm(`Remove the workflow ${name}?`, "Remove", async () => {
    await ask("DELETE", flowOf(task, name), { tag });
    showAnew(`Removed the workflow ${name}.`, { focus: "[data-live=edit]" });
  }, make("p", {}, "It is taken out of the task with its parameters, in a commit of its own. Its runs stay."));
}

// -- running ----------------------------------------------------------------------------------------------------------------

/* A form for parameters of this run alone: what is left empty is as the workflow says. */
export async function runWorkflow(task, name) {
  const { data: flow } = await ask("GET", flowOf(task, name)), { data: template } = await ask("GET", path("templates", flow.template));
  const bound = flow.parameters, fields = Object.entries(template.parameters).map(([each, spec]) =>
    makeParameter(each, spec, each in bound ? { otherwise: `as bound: ${showValue(bound[each])}` } : {}));
  openForm({
    key: `run of ${name} of ${task}`, title: `Run ${name}`, verb: "Run", lead: fields.length ? "For this run alone. What is left empty is as the workflow says." : `Template ${flow.template}`, fields,
    send: (values, { once }, how) => ask("POST", `${flowOf(task, name)}/runs`, { body: { parameters: parametersOf(values), ignore_dependencies: Boolean(how?.ignore) }, once }),
    done: ({ data }) => watchRun(data.id),
  });
}

/* A dialog that follows a run until its end. */
function watchRun(id) {
  const place = make("div", {}), dialog = openDialog(`Run ${id}`, place), end = followRun(place, id);
  dialog.addEventListener("close", () => {
    end();
    if ("isReplaced" in dialog.dataset) return;
    showAnew(`Run ${id} is ${find(".dt-status", place)?.textContent.toLowerCase() ?? "begun"}.`, { address: page("r", id), label: "Show it", focus: "[data-live=edit]" });
  });
}

export const isFinal = ({ status }) => !GOING_ON.includes(status);
const GOING_ON = ["queued", "running", "waiting", "cancelling"];
const LINES = 5000; // the oldest ones go

/* Shows the state of the run, what it prints while it does, and what can be done with it now. Gives what ends that. */
export function followRun(place, id, isOver = () => {}) {
  const state = make("p", { class: "dt-lead", role: "status" }), log = make("pre", { tabindex: "0", class: "dt-live-log", "aria-label": "Log" });
  const actions = make("div", { class: "dt-live-actions" });
  let source, timer, shown = "", isEnded = false, misses = 0;
  place.append(state, actions, log);
  look();

  async function look() {
    try {
      const { data } = await ask("GET", path("runs", id));
      show(data);
      if (data.status !== "queued" && !isFinal(data) && !source) listen();
      if (isFinal(data) && !source) return listen();
    } catch (error) {
      if (error.status === undefined) throw error;
      misses += 1; // between the queue and its beginning a run is nowhere for a moment
      if (error.status !== 404 || misses > 20) state.replaceChildren(make("b", {}, error.message), ` ${error.hint}`);
    }
    if (!isEnded) timer = setTimeout(look, 700);
  }
  function listen() {
    source = follow(`${path("runs", id)}/logs`, ["line", "end"], (name, said) => {
      if (name === "open") log.replaceChildren();
      if (name === "line") add(said);
      if (name === "end") finish(said);
      if (name === "lost" && source.readyState === 2) source = null;
    });
  }
  function add({ step, text }) {
    const isAtEnd = log.scrollTop + log.clientHeight >= log.scrollHeight - 4;
    log.append(`${step}  ${text}\n`);
    while (log.childNodes.length > LINES) log.firstChild.remove();
    if (isAtEnd) log.scrollTop = log.scrollHeight;
  }
  function finish(run) {
    end();
    show(run);
    isOver(run);
  }
  function end() {
    isEnded = true;
    clearTimeout(timer);
    source?.close();
  }
  function show(run) {
    const steps = run.steps.map((step) => `${step.name} ${words(step.state).toLowerCase()}`).join(", ");
    const now = JSON.stringify([run.status, steps]);
    if (now === shown) return;
    shown = now;
    state.replaceChildren(make("span", { class: `dt-status dt-icon dt-run-${run.status}` }, words(run.status)),
      make("span", { class: "dt-quiet" }, run.error ? ` ${run.error.message}` : steps ? ` ${steps}` : ""));
    actions.replaceChildren(...actionsOf(run));
  }
  return end;
}

/* What can be done with a run as it is. */
export function actionsOf(run) {
  if (isFinal(run)) return [does("Run again", () => askRetry(run))];
  const waiting = run.steps.filter((step) => step.approval && step.state === "waiting");
  return [...waiting.map((step) => does(`Answer ${step.name}`, () => answerStep(run.id, step))), does("End it", () => endRun(run.id))];
}

/* A button that does something that may fail, once at a time. */
export function does(text, act, attributes = {}) {
  let isBusy = false;
  return button(text, async () => {
    if (isBusy) return;
    isBusy = true;
    try { await act(); } catch (error) { tell(error); } finally { isBusy = false; }
  }, attributes);
}

function endRun(id) {
  openConfirm(`End the run ${id}?`, "End it", async () => {
    await ask("POST", `${path("runs", id)}/cancel`);
    say("The run is being ended.");
  }, make("p", {}, "Its steps are stopped; what stands below finally is still done."));
}

async function askRetry(run) {
  const once = {}, again = async (body) => {
    const { data } = await ask("POST", `${path("runs", run.id)}/retry`, { body, once });
    all("dialog.dt-live").forEach((each) => { each.dataset.isReplaced = ""; each.close(); });
    watchRun(data.id);
  };
  const isWhole = run.status === "succeeded";
  const text = isWhole ? "Every step is run once more." : "What did not succeed is run again, and what comes after it; the rest is kept.";
  openConfirm(`Run ${run.id} again?`, "Run again", () => again({ everything: isWhole }), make("p", {}, text));
}

async function answerStep(id, step) {
  const asked = step.approval, fields = Object.entries(asked.parameters || {}).map(([each, spec]) => makeParameter(each, spec));
  const decision = makeField("approved", {}, { kind: "choice", label: "Answer", choices: [[true, "Approve"], [false, "Refuse"]], isPlain: true, initial: true });
  const reason = makeField("reason", {}, { kind: "area", rows: 2 });
  openForm({
    key: `answer ${id} ${step.name}`, title: showValue(asked.message) || `Approve ${step.name}?`, verb: "Send", fields: [decision, ...fields, reason],
    send: (values, { once }) => ask("POST", `${path("runs", id)}/approve`, { body: { step: step.name, approved: values.approved, reason: values.reason ?? "", parameters: parametersOf(values) }, once }),
    done: () => say("Your answer is given."),
  });
}
