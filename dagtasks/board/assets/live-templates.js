/* Templates: new ones, which run as they are, their text, and deleting them. */

import { ROOT, ask, path, readSchema } from "./live-api.js";
import { makeField } from "./live-fields.js";
import { openForm } from "./live-forms.js";
import { make, openConfirm, showAnew } from "./live-parts.js";
import { told } from "./live-plans.js";
import { given } from "./live-tasks.js";

const page = (name) => new URL(`${path("templates", name)}.html`, ROOT).href;
const textOf = (name) => path("templates", name, "text");

export async function newTemplate() {
  const { properties } = await readSchema("NewTemplate");
  const name = makeField("name", properties.name, { isRequired: true, help: "A small letter, then small letters, digits, - and _: it is the name of its file." });
  openForm({
    key: "new template", title: "New template", verb: "Create", lead: "It runs as it is. Change its text then.", fields: [name, makeField("type", properties.type)],
    send: (values, { once }) => ask("POST", "templates", { body: { ...given(values), name: values.name ?? "" }, once }),
    done: ({ data }) => showAnew(`Created the template ${data.name}.`, { to: page(data.name) }),
  });
}

/* A form for the text. What is wrong in it stands below it, with the line. */
export async function editText(name) {
  const read = async () => {
    const { data, tag } = await ask("GET", textOf(name));
    return { tag, path: data.path, base: { text: data.text.replaceAll("\r\n", "\n") } };
  };
  const { base, tag, path: file } = await read();
  const dialog = openForm({
    key: `text of ${name}`, title: `Edit ${file}`, base, tag, reread: read, fields: [makeField("text", {}, { kind: "code", label: "Text" })],
    send: async ({ text }, state) => ((text ?? "") === state.base.text ? null : save(name, text ?? "", state.tag)),
    done: (answer) => showAnew(answer ? `Saved the template ${name}.` : `Nothing of ${name} was changed.`, { focus: "[data-live=edit]" }),
  });
  dialog.classList.add("dt-live--wide");
}

async function save(name, text, tag) {
  try {
    return await ask("PUT", textOf(name), { body: { text }, tag });
  } catch (error) {
    if (error.problems?.length) error.faults = error.problems.map((problem) => ({ ...problem, field: "text" }));
    throw error;
  }
}

export async function deleteTemplate(name) {
  const { data, tag } = await ask("GET", textOf(name));
  openConfirm(`Delete the template ${name}?`, "Delete", async () => {
    const answer = await ask("DELETE", path("templates", name), { tag });
    showAnew(told(`the template ${name}`, answer), { to: new URL("templates.html", ROOT).href });
  }, make("p", {}, "The file ", make("code", {}, data.path), " is deleted. It is done only while nothing uses the template. This is a commit of its own, so it can be brought back from the history."));
}
