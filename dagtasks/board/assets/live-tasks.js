/* Tasks: new ones, all their fields, and status and priority at once. */

import { ROOT, ask, askAll, path, readSchema } from "./live-api.js";
import { makeField, patchOf } from "./live-fields.js";
import { openForm } from "./live-forms.js";
import { all, button, find, make, openDialog, showAnew, words } from "./live-parts.js";

const OWN = {
  name: { isRequired: true },
  description: { kind: "area" },
  due: { kind: "date", help: "" },
  phase: { kind: "choice", none: "No phase" },
  labels: { help: "Enter or a comma adds one." },
  depends_on: { label: "Depends on", search: searchTasks, help: "Tasks that must end before: type a word of the name, or an id." },
};
const uriOf = (id) => new URL(`t/${encodeURIComponent(id)}.html`, ROOT).href;

async function searchTasks(text) {
  const quoted = `"${text.replace(/[\\"]/g, "\\$&")}"`;
  const { data } = await ask("GET", `tasks?limit=20&q=${encodeURIComponent(quoted)}`);
  return data.data.map((task) => [task.id, task.name]);
}

function suggest(name) {
  const table = window.dagtasksTasks;
  return name === "assignee" && table ? table.people.map(([person]) => person) : undefined;
}

async function makeFields(schemaName, more = {}) {
  const { properties } = await readSchema(schemaName);
  return Object.keys(properties).map((name) => makeField(name, properties[name], { suggestions: suggest(name), ...OWN[name], ...more[name] }));
}

async function offerPhases(field, project) {
  field.offer((await askAll(`${path("projects", project, "phases")}`)).map((phase) => [phase.key, phase.name]));
}

const by = (fields, name) => fields.find((field) => field.name === name);

/* Values as a request takes them: what is empty is left out. */
export const given = (values) => Object.fromEntries(Object.entries(values).filter(([, value]) => value !== null));

/* A form for a task that is not there yet; `start` are fields that are known. */
export async function newTask(start = {}) {
  const projects = (await askAll("projects")).map((project) => [project.key, `${project.name} (${project.key})`]);
  const fields = await makeFields("NewTask", { project: { kind: "choice", choices: projects, isPlain: true, isRequired: true, help: "" } });
  const project = by(fields, "project"), phase = by(fields, "phase");
  const ordered = ["name", "project", "phase", ...fields.map((field) => field.name)];
  fields.sort((one, other) => ordered.indexOf(one.name) - ordered.indexOf(other.name));
  const base = { project: start.project ?? projects[0]?.[0], ...start };
  phase.keeps = false;
  project.onPut = () => offerPhases(phase, project.value()).catch(tell);
  project.control.addEventListener("change", project.onPut);
  if (base.project) await offerPhases(phase, base.project);
  openForm({
    key: "new task", title: "New task", verb: "Create", fields, base,
    send: (values, { once }) => ask("POST", "tasks", { body: { ...given(values), name: values.name ?? "" }, once }),
    done: ({ data }) => showAnew(`Created ${data.id}.`, { address: uriOf(data.id), label: data.name, focus: focusOf(data.id) }),
  });
}

/* A form with all fields of a task. */
export async function editTask(id) {
  const fields = await makeFields("TaskPatch", { depends_on: { without: id } });
  const read = () => readTask(id);
  const { base, tag, task } = await read();
  by(fields, "depends_on").given.names = await namesOf(task.depends_on);
  await offerPhases(by(fields, "phase"), task.project);
  openForm({
    key: `task ${id}`, title: `Edit ${id}`, fields, base, tag, reread: read,
    send: (values, state, how) => change(id, patchOf(state.base, values), state.tag, how),
    done: (answer) => showAnew(answer ? `Saved ${id}.` : `Nothing of ${id} was changed.`, { focus: "[data-live=edit]" }),
  });
}

const FIELDS = ["name", "description", "status", "priority", "assignee", "phase", "due", "labels", "depends_on", "metadata"];
export const isEmpty = (value) => value === null || value === undefined || (typeof value !== "number" && !Object.keys(value).length);

async function readTask(id) {
  const { data: task, tag } = await ask("GET", path("tasks", id));
  return { task, tag, base: Object.fromEntries(FIELDS.map((name) => [name, isEmpty(task[name]) ? null : task[name]])) };
}

async function namesOf(ids) {
  if (!ids?.length) return new Map();
  const found = await askAll(`tasks?q=${encodeURIComponent(`id:${ids.join(",")}`)}`).catch(() => []);
  return new Map(found.map((task) => [task.id, task.name]));
}

function change(id, patch, tag, how) {
  if (!Object.keys(patch).length) return null;
  return ask("PATCH", `${path("tasks", id)}${how?.ignore ? "?ignore_dependencies=true" : ""}`, { body: patch, tag });
}

/* Something to say of a task; it stands below it at once. */
export async function comment(id) {
  const { properties } = await readSchema("NewComment");
  openForm({
    key: `comment on ${id}`, title: `Comment on ${id}`, verb: "Comment", fields: [makeField("text", properties.text, { kind: "area", label: "Comment", isRequired: true })],
    send: (values, { once }) => ask("POST", path("tasks", id, "comments"), { body: { text: values.text ?? "" }, once }),
    done: () => showAnew("Your comment is there.", { address: "#dt-comments", label: "Show it", focus: "[data-live=comment]" }),
  });
}

// -- status and priority, without a form ------------------------------------------------------------------------------------

/* What a task can become, each by one press. It is read when it is opened, and again when somebody was faster. */
export async function openChanges(id, focus = focusOf(id)) {
  const { properties } = await readSchema("TaskPatch");
  let { task, tag } = await readTask(id);
  const place = make("div", { class: "dt-live-quick" }), trouble = make("div", { class: "dt-live-trouble", role: "alert", tabindex: "-1" });
  const dialog = openDialog(task.name, make("p", { class: "dt-id" }, id), trouble, place,
    make("div", { class: "dt-live-end" }, button("Edit all fields", () => { dialog.close(); editTask(id).catch(tell); })));
  draw();
  find("[aria-pressed=true]", place).focus();

  function draw() {
    place.replaceChildren(...["status", "priority"].map((name) => make("div", { role: "group", "aria-label": words(name) },
      make("h3", {}, words(name)), ...choicesOf(properties[name]).map((value) => choice(name, value)))));
  }
  function choice(name, value) {
    const look = name === "status" ? `dt-status dt-icon dt-is-${value}` : `dt-priority dt-icon dt-p-${value}`;
    const made = button("", () => become(name, value), { "aria-pressed": String(task[name] === value) });
    made.append(make("span", { class: look }, words(value)));
    return made;
  }
  async function become(name, value, how) {
    if (task[name] === value) return dialog.close();
    trouble.replaceChildren();
    all("button", place).forEach((each) => { each.disabled = true; });
    try {
      await change(id, { [name]: value }, tag, how);
      dialog.close();
      showAnew(`${id} is ${words(value).toLowerCase()} now.`, { focus });
    } catch (error) {
      if (error.status === undefined) throw error;
      await say(error, () => become(name, value, { ignore: true }), name);
    }
  }
  async function say(error, again, name) {
    if (error.status === 412) await readTask(id).then((now) => ({ task, tag } = now), () => {});
    draw();
    const text = error.status === 412 ? `Somebody has changed this task meanwhile: ${name} is ${words(task[name]).toLowerCase()}. Choose again.` : error.message;
    trouble.replaceChildren(make("p", {}, make("b", {}, text), error.mayIgnore ? "" : ` ${error.hint}`));
    if (error.mayIgnore) trouble.append(button("Do it all the same", again));
    trouble.focus();
  }
}

const choicesOf = (schema) => schema.enum || schema.anyOf.find((each) => each.enum)?.enum || [];

/* Where a task has the focus on the page that comes next. */
export const focusOf = (id) => `[data-live-task="${CSS.escape(id)}"]`;

/* A failure before anything was shown. */
export function tell(error) {
  if (error.status === undefined) throw error;
  const dialog = openDialog("This could not be done", make("p", { role: "alert" }, make("b", {}, error.message), error.hint ? ` ${error.hint}` : ""));
  find(".dt-close", dialog).focus();
}
