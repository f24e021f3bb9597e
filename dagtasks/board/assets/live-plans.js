/* Projects and phases: new ones, their fields; and deleting these and tasks, with what that means said first. */

import { ROOT, ask, path, readSchema } from "./live-api.js";
import { makeField, patchOf } from "./live-fields.js";
import { openForm } from "./live-forms.js";
import { make, openConfirm, showAnew } from "./live-parts.js";
import { given, isEmpty } from "./live-tasks.js";

const OWN = { key: { isRequired: true }, name: { isRequired: true }, description: { kind: "area", help: "Markdown" } };
const page = (...parts) => new URL(`${path(...parts)}.html`, ROOT).href;
const HELP = {
  project: "A small letter, then small letters or digits: the ids of its tasks begin with it, and it stays.",
  phase: "Small letters, digits, - and _: it is the name of its file, and it stays.",
};

async function makeFields(schemaName, help) {
  const { properties } = await readSchema(schemaName);
  const names = Object.keys(properties).sort((one, other) => (other === "name") - (one === "name") || (other === "key") - (one === "key"));
  return names.map((name) => makeField(name, properties[name], { ...OWN[name], ...(name === "key" && { help }) }));
}

export async function newProject() {
  openForm({
    key: "new project", title: "New project", verb: "Create", fields: await makeFields("NewProject", HELP.project),
    send: (values, { once }) => ask("POST", "projects", { body: { ...given(values), name: values.name ?? "", key: values.key ?? "" }, once }),
    done: ({ data }) => showAnew(`Created the project ${data.key}.`, { to: page("p", data.key) }),
  });
}

export async function newPhase(project) {
  openForm({
    key: `new phase of ${project}`, title: `New phase of ${project}`, verb: "Create", fields: await makeFields("NewPhase", HELP.phase),
    send: (values, { once }) => ask("POST", path("projects", project, "phases"), { body: { ...given(values), name: values.name ?? "", key: values.key ?? "" }, once }),
    done: ({ data }) => showAnew(`Created the phase ${data.key}.`, { to: page("p", project, data.key) }),
  });
}

const addressOf = (project, phase) => (phase ? path("projects", project, "phases", phase) : path("projects", project));

export async function editPlan(project, phase) {
  const address = addressOf(project, phase), what = phase ? `the phase ${phase}` : `the project ${project}`;
  const fields = await makeFields(phase ? "PhasePatch" : "ProjectPatch");
  const read = async () => {
    const { data, tag } = await ask("GET", address);
    return { tag, base: Object.fromEntries(fields.map(({ name }) => [name, isEmpty(data[name]) ? null : data[name]])) };
  };
  const { base, tag } = await read();
  openForm({
    key: address, title: `Edit ${what}`, fields, base, tag, reread: read,
    send: async (values, state) => {
      const patch = patchOf(state.base, values);
      return Object.keys(patch).length ? ask("PATCH", address, { body: patch, tag: state.tag }) : null;
    },
    done: (answer) => showAnew(answer ? `Saved ${what}.` : `Nothing of ${what} was changed.`, { focus: "[data-live=edit]" }),
  });
}

// -- deleting ---------------------------------------------------------------------------------------------------------------

const BACK = "This is a commit of its own, so it can be brought back from the history.";

/* What a delete answered: how it is undone. */
export const told = (what, { data }) => [`Deleted ${what}.`, ...data.notes].join(" ");

export async function deletePlan(project, phase) {
  const address = addressOf(project, phase), { data, tag } = await ask("GET", address);
  const what = phase ? `the phase ${phase}` : `the project ${project}`;
  const empty = phase ? "It is done only while no task is in the phase." : "It is done only while the project is empty: without tasks and phases.";
  openConfirm(`Delete ${what}?`, "Delete", async () => {
    const answer = await ask("DELETE", address, { tag });
    showAnew(told(what, answer), { to: phase ? page("p", project) : new URL("index.html", ROOT).href });
  }, make("p", {}, "The file ", make("code", {}, data.path), " is deleted. ", empty, " ", BACK));
}

export async function deleteTask(id) {
  const { data, tag } = await ask("GET", `${path("tasks", id)}?dependents=true`), others = data.dependents;
  const comments = data.comments.length ? ` with ${data.comments.length === 1 ? "its comment" : `its ${data.comments.length} comments`}` : "";
  const box = make("input", { type: "checkbox" });
  const detach = others.length ? [make("p", {}, make("label", { class: "dt-switch" }, box,
    ` Also take it out of what ${others.slice(0, 10).join(", ")}${others.length > 10 ? ` and ${others.length - 10} more` : ""} depend${others.length === 1 ? "s" : ""} on`))] : [];
  openConfirm(`Delete ${id}?`, "Delete", async () => {
    const answer = await ask("DELETE", `${path("tasks", id)}${box.checked ? "?detach=true" : ""}`, { tag });
    showAnew(told(id, answer), { to: page("p", data.project) });
  }, make("p", {}, make("b", {}, data.name)), make("p", {}, "The file ", make("code", {}, data.path), ` is deleted${comments}. ${BACK}`), ...detach);
}
