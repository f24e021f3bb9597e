/* Settings: webhooks, their secrets, and what became of what they were sent. */

import { ask, askAll, path, readSchema } from "./live-api.js";
import { makeEvents, makeField, patchOf } from "./live-fields.js";
import { openForm } from "./live-forms.js";
import { all, button, copyButton, find, make, openConfirm, openDialog, say, words } from "./live-parts.js";
import { does } from "./live-runs.js";
import { given } from "./live-tasks.js";

const hookOf = (name, ...more) => path("webhooks", name, ...more);
const SOON = 2000, LATER = 10000, PAGE = 50; // milliseconds between two looks, and deliveries that are shown at first

/* Fills the page, and keeps it as things are. */
export function showSettings() {
  const filter = { webhook: "", state: "" }, tests = new Map();
  let wanted = PAGE, timer, turn = 0;
  const hooks = keeping(find("#dt-hooks")), sent = keeping(find("#dt-sent"));
  const menu = choose("Webhook", "webhook", [["", "All webhooks"]]);
  const states = choose("State", "state", [["", "Every state"], ...Object.keys(STATES).map((state) => [state, words(state)])]);
  find("#dt-webhooks").after(make("div", { class: "dt-live-actions" }, does("New webhook", () => newWebhook(look), { "data-key": "new" })));
  find("#dt-deliveries").after(make("div", { class: "dt-live-actions" }, menu, states));
  document.addEventListener("visibilitychange", look);
  return look();

  function choose(label, key, choices) {
    const made = make("select", { "aria-label": label }, ...choices.map(([value, text]) => new Option(text, value)));
    made.addEventListener("change", () => {
      filter[key] = made.value;
      wanted = PAGE;
      look();
    });
    return make("span", { class: "dt-choice" }, made);
  }

  /* Reads all of it, and comes again. What an earlier look finds after a later one began does not count. */
  async function look() {
    const mine = (turn += 1);
    clearTimeout(timer);
    if (document.hidden) return;
    let found, pause = SOON;
    try {
      const rows = await askAll("webhooks");
      if (!rows.some(({ name }) => name === filter.webhook)) filter.webhook = "";
      found = [rows, await readSent(filter, wanted)];
    } catch (error) {
      if (error.status === undefined) throw error;
      pause = LATER;
      if (mine === turn) hooks.show(error.message, () => [wrongOf(error)]);
    }
    if (mine !== turn) return;
    timer = setTimeout(look, pause);
    if (found && !find("dialog[open]")) show(...found);
  }
  function show(rows, { deliveries, hasMore }) {
    const names = rows.map((row) => row.name);
    hooks.show([rows, [...tests]], () => (rows.length ? rows.map(panelOf) : [make("div", { class: "dt-empty" }, "Nobody is told of anything yet.")]));
    offer(find("select", menu), names);
    sent.show([deliveries, hasMore], () => [
      ...(deliveries.length ? [make("ul", { class: "dt-rows" }, ...deliveries.map(rowOf))] : [make("div", { class: "dt-empty" }, "Nothing here")]),
      ...(hasMore ? [make("p", { class: "dt-more" }, button("Show more", () => { wanted += PAGE; look(); }, { "data-key": "more" }))] : []),
    ]);
  }

  // -- one webhook --------------------------------------------------------------------------------------------------------

  function panelOf(hook) {
    const { name } = hook, isOn = hook.enabled && !isDisabled(hook), act = (text, what) => does(text, what, { "data-key": `${name} ${text}`, "aria-label": `${text}: ${name}` });
    return make("article", { class: "dt-panel", "data-hook": name },
      make("h3", {}, name, " ", make("span", { class: `dt-status dt-icon ${lookOf(hook)}` }, stateOf(hook))),
      make("p", {}, make("code", {}, hook.url)),
      make("p", {}, ...hook.events.flatMap((event) => [make("span", { class: "dt-label" }, event === "*" ? "every event" : event), " "]),
        make("span", { class: "dt-quiet" }, hook.project ? `of the project ${hook.project}` : "of all projects")),
      make("p", { class: "dt-quiet" }, factsOf(hook)),
      make("p", { role: "status", class: "dt-live-tested" }, tests.get(name) ?? ""),
      make("div", { class: "dt-live-actions" },
        act("Test", () => test(name)), act("Edit", () => editWebhook(hook, look)),
        isOn ? act("Disable", () => turnTo(name, false)) : act("Enable", () => turnTo(name, true)),
        act("New secret", () => newSecret(name)), ...(hook.secrets > 1 ? [act("End the older secret", () => endSecret(name))] : []),
        act("Send dead ones again", () => replay(name)), act("Delete", () => remove(hook))));
  }

  async function test(name) {
    tests.set(name, "A test is being sent ...");
    await look();
    try {
      const { data } = await ask("POST", hookOf(name, "test"));
      tests.set(name, data.delivered ? `The test was taken: ${data.result}` : `The test was not taken: ${data.result}`);
    } catch (error) {
      tests.delete(name);
      throw error;
    } finally { look(); }
  }
  async function turnTo(name, enabled) {
    const { tag } = await ask("GET", hookOf(name));
    await ask("PATCH", hookOf(name), { body: { enabled }, tag });
    say(`${name} is ${enabled ? "enabled" : "disabled"}.`);
    return look();
  }
  function newSecret(name) {
    openConfirm(`A new secret for ${name}?`, "Make it", async () => {
      const { data } = await ask("POST", hookOf(name, "secrets"));
      setTimeout(() => showSecret(name, data.secret, look));
    }, make("p", {}, "It is shown once. The one before signs, too, until you end it. By this you agree that events are sent from here to the address."));
  }
  function endSecret(name) {
    openConfirm(`End the older secret of ${name}?`, "End it", async () => {
      await ask("DELETE", hookOf(name, "secrets"));
      say(`Only the newest secret of ${name} signs now.`);
      setTimeout(look);
    }, make("p", {}, "Do it when the receiver has the new one: it cannot check by the older one any more."));
  }
  async function remove({ name, waiting }) {
    const { tag } = await ask("GET", hookOf(name));
    const lost = waiting ? ` ${waiting === 1 ? "The event that waits is" : `The ${waiting} events that wait are`} not sent.` : "";
    openConfirm(`Delete the webhook ${name}?`, "Delete", async () => {
      await ask("DELETE", hookOf(name), { tag });
      say(`Deleted the webhook ${name}.`);
      find("[data-key=new]").focus();
      setTimeout(look);
    }, make("p", {}, `It is taken out of config/webhooks.yaml in a commit of its own, and its secrets are forgotten.${lost}`));
  }
  async function replay(name, event) {
    const { data } = await ask("POST", hookOf(name, "replay"), { body: { events: event ? [event] : [] } });
    const { length } = data.data;
    say(length ? `${length === 1 ? "One event is" : `${length} events are`} sent to ${name} again.` : event ? "It waits already." : `Nothing of ${name} is dead.`);
    return look();
  }

  // -- one delivery -------------------------------------------------------------------------------------------------------

  function rowOf({ id, webhook, event, state, tries, at, result }) {
    const when = at ? make("time", {}, timeOf(at)) : "";
    return make("li", { class: "dt-row dt-live-sent", "data-event": id },
      make("span", { class: `dt-status dt-icon ${STATES[state]}` }, words(state)),
      make("span", { class: "dt-row__title" }, event.type, " ", make("span", { class: "dt-id" }, event.subject), event.name ? ` ${event.name}` : ""),
      make("span", { class: "dt-quiet" }, webhook), make("span", { class: "dt-quiet" }, tries === 1 ? "1 try" : `${tries} tries`),
      make("span", { class: "dt-quiet" }, state === "waiting" && at ? "next " : "", when),
      state === "waiting" ? make("span", { class: "dt-live-sent__end" }) : does("Send again", () => replay(webhook, id), { "data-key": `${webhook} ${id}`, class: "dt-button dt-live-sent__end", "aria-label": `Send ${event.type} ${event.subject} to ${webhook} again` }),
      result ? make("span", { class: "dt-live-sent__result" }, `${state === "delivered" ? "answer" : "last answer"}: ${answerOf(result)}`) : "");
  }
}

const STATES = { waiting: "dt-run-waiting", delivered: "dt-run-succeeded", dead: "dt-run-failed" };

async function readSent({ webhook, state }, wanted) {
  const deliveries = [];
  let cursor;
  do {
    const asked = { limit: Math.min(wanted - deliveries.length, 200), ...(webhook && { webhook }), ...(state && { state }), ...(cursor && { cursor }) };
    const { data } = await ask("GET", `deliveries?${new URLSearchParams(asked)}`);
    deliveries.push(...data.data);
    cursor = data.next;
  } while (cursor && deliveries.length < wanted);
  return { deliveries, hasMore: Boolean(cursor) };
}

/* A place that is drawn anew only when it has something else to show; who is on a button there stays on it. */
function keeping(place) {
  let shown;
  return {
    show(facts, draw) {
      const now = JSON.stringify(facts);
      if (now === shown) return;
      shown = now;
      const here = place.contains(document.activeElement) && document.activeElement.dataset.key;
      place.replaceChildren(...draw());
      if (here) find(`[data-key="${CSS.escape(here)}"]`, place)?.focus();
    },
  };
}

function offer(menu, names) {
  const before = menu.value;
  if (JSON.stringify(all("option", menu).slice(1).map((each) => each.value)) === JSON.stringify(names)) return;
  menu.replaceChildren(menu.options[0], ...names.map((name) => new Option(name, name)));
  menu.value = names.includes(before) ? before : "";
}

const wrongOf = (error) => make("div", { class: "dt-empty", role: "alert" }, make("b", {}, error.message), error.hint ? ` ${error.hint}` : "");

// -- what a webhook says of itself ------------------------------------------------------------------------------------------

const timeOf = (moment) => new Date(moment).toLocaleString();

/* What was answered; where it begins with the moment, that comes after. */
function answerOf(text) {
  const [, moment, rest] = /^(\d{4}-\d\d-\d\dT\S+) (.*)$/s.exec(text) || [];
  return moment ? `${rest} (${timeOf(moment)})` : text;
}

const isReady = ({ state }) => state === "ready" || state === "failing";
/* Not by the file, but because nothing was taken for long. */
const isDisabled = (hook) => !isReady(hook) && !/secret/.test(hook.state);
const lookOf = ({ state }) => ({ ready: "dt-run-succeeded", failing: "dt-run-timed_out" })[state] || "dt-run-cancelled";
const stateOf = (hook) => (isReady(hook) || hook.state === "disabled" ? words(hook.state) : `Nothing is sent: ${hook.state}`);

function factsOf({ secrets, waiting, last }) {
  const signs = secrets === 0 ? "No secret on this machine: New secret has it send" : secrets === 1 ? "One secret signs" : "Two secrets sign";
  return [signs, waiting ? (waiting === 1 ? "one event waits" : `${waiting} events wait`) : "nothing waits", ...(last ? [`last answer: ${answerOf(last)}`] : [])].join("; ");
}

// -- forms ------------------------------------------------------------------------------------------------------------------

async function makeFields(schemaName, names) {
  const [{ properties }, full, projects] = await Promise.all([readSchema(schemaName), readSchema("NewWebhook"), askAll("projects")]);
  const own = {
    name: { isRequired: true, help: "What it is called here: small letters, digits, - and _. It stays." },
    url: { isRequired: true, label: "Address", help: "https:// or http://, without a name or a password: everybody reads it." },
    project: { kind: "choice", isPlain: true, none: "All projects", choices: projects.map(({ key, name }) => [key, `${name} (${key})`]), help: "" },
    secret: { label: "Secret of the receiver", isSecret: true, help: "Only if the receiver gave you one, as whsec_...; one is made without." },
  };
  return names.map((name) => (name === "events" ? makeEvents(name, full.properties.events.items.examples) : makeField(name, properties[name], own[name])));
}

async function newWebhook(look) {
  openForm({
    key: "new webhook", title: "New webhook", verb: "Create", fields: await makeFields("NewWebhook", ["name", "url", "events", "project", "secret"]), base: { events: ["*"] },
    send: (values, { once }) => ask("POST", "webhooks", { body: { ...given(values), name: values.name ?? "", url: values.url ?? "" }, once }),
    done: ({ data }) => showSecret(data.name, data.secret, look),
  });
}

async function editWebhook({ name }, look) {
  const fields = await makeFields("WebhookPatch", ["url", "events", "project"]);
  const read = async () => {
    const { data, tag } = await ask("GET", hookOf(name));
    return { tag, base: { url: data.url, events: data.events, project: data.project } };
  };
  const { base, tag } = await read();
  openForm({
    key: `webhook ${name}`, title: `Edit the webhook ${name}`, fields, base, tag, reread: read,
    send: async (values, state) => {
      const patch = patchOf(state.base, values);
      return Object.keys(patch).length ? ask("PATCH", hookOf(name), { body: patch, tag: state.tag }) : null;
    },
    done: (answer) => {
      say(answer ? `Saved the webhook ${name}.` : `Nothing of ${name} was changed.`);
      look();
    },
  });
}

/* The secret, this once. */
function showSecret(name, secret, look) {
  const text = make("code", { class: "dt-live-secret", tabindex: "0" }, secret);
  const dialog = openDialog(`The secret of ${name}`, make("p", {}, "Give it to the receiver, who checks with it that messages are from here. ", make("b", {}, "It is not shown again.")), text,
    make("div", { class: "dt-live-end" }, copyButton(() => secret)));
  dialog.addEventListener("close", look);
  (find(".dt-live-do", dialog) || text).focus();
}
