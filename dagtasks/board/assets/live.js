/* What only a served board can do: make, change, run. Served pages load this; published ones do not have it. */

import { ROOT, ask, path } from "./live-api.js";
import { all, find, make, sayWhatWasDone } from "./live-parts.js";
import { letCardsMove } from "./live-moves.js";
import { deletePlan, deleteTask, editPlan, newPhase, newProject } from "./live-plans.js";
import { actionsOf, addWorkflow, does, editWorkflow, followRun, isFinal, removeWorkflow, runWorkflow } from "./live-runs.js";
import { showSettings } from "./live-webhooks.js";
import { deleteTemplate, editText, newTemplate } from "./live-templates.js";
import { comment, editTask, newTask, openChanges, tell } from "./live-tasks.js";

/* What page this is: its address below the root, without the ending. */
function whereIsThis() {
  const below = decodeURIComponent(location.pathname.slice(ROOT.pathname.length)).replace(/\.html$/, "");
  return below.split("/");
}

/* The way to the page that only a served board has. */
function addSettings(isHere) {
  const parts = find(".dt-nav");
  if (isHere) all("[aria-current]", parts).forEach((each) => each.removeAttribute("aria-current"));
  const link = make("a", { href: new URL("dagtasks/settings.html", ROOT).href, "aria-current": isHere && "true" }, "Settings");
  parts.append(link);
  if (isHere) parts.scrollLeft = parts.scrollWidth;
}

function addActions(place, ...buttons) {
  place.append(make("div", { class: "dt-live-actions" }, ...buttons));
}

// -- pages ------------------------------------------------------------------------------------------------------------------

function onBoard() {
  find(".dt-head .dt-menu")?.remove();
  addActions(find(".dt-head"), does("New task", () => newTask()));
  const board = find("#dt-board"), mark = () => all(".dt-card:not(.dt-card--broken):not(:has([data-live-task]))", board).forEach(addToCard);
  new MutationObserver(mark).observe(board, { childList: true, subtree: true });
  mark();
  letCardsMove(board);
}

function addToCard(card) {
  const id = find(".dt-id", card).textContent;
  find(".dt-card__top", card).append(does("\u22ef", () => openChanges(id), { "data-live-task": id, class: "dt-live-card", "aria-label": `Change ${id}`, title: "Status, priority, all fields" }));
}

function onTask([, id]) {
  if (!find(".dt-split")) return;
  const bar = make("div", { class: "dt-live-bar" });
  find(".dt h1").after(bar);
  addActions(bar, does("Edit", () => editTask(id), { "data-live": "edit" }),
    does("Status and priority", () => openChanges(id), { "data-live-task": id }),
    does("Add workflow", () => addWorkflow(id)), does("Comment", () => comment(id), { "data-live": "comment" }), does("Delete", () => deleteTask(id)));
  all("section[aria-labelledby=dt-workflows] > .dt-panel").forEach((panel) => {
    const name = find("h3", panel).firstChild.textContent.trim();
    addActions(panel, does("Run", () => runWorkflow(id, name), { "data-live-run": name, "aria-label": `Run ${name}` }),
      does("Edit", () => editWorkflow(id, name), { "aria-label": `Edit the workflow ${name}` }),
      does("Remove", () => removeWorkflow(id, name), { "aria-label": `Remove the workflow ${name}` }));
  });
}

function onProject([, project, phase]) {
  find(".dt-details:has(.dt-new)")?.remove();
  addActions(find(".dt-head"), does("New task", () => newTask(phase ? { project, phase } : { project })),
    ...(phase ? [] : [does("New phase", () => newPhase(project))]),
    does("Edit", () => editPlan(project, phase), { "data-live": "edit" }), does("Delete", () => deletePlan(project, phase)));
}

function onHome() {
  addActions(find("#dt-projects").parentElement, does("New project", () => newProject()));
}

function onTemplates([, name]) {
  if (name) {
    const bar = make("div", { class: "dt-live-bar" });
    find(".dt h1").after(bar);
    return addActions(bar, does("Edit text", () => editText(name), { "data-live": "edit" }), does("Delete", () => deleteTemplate(name)));
  }
  addActions(find(".dt-head"), does("New template", () => newTemplate()));
  all(".dt-card--broken").forEach((card) => {
    const [, broken] = /^templates\/([^/]+)\.yaml$/.exec(find("h3", card).textContent) || [];
    if (broken) addActions(card, does("Edit text", () => editText(broken), { "aria-label": `Edit the text of ${broken}`, "data-live": "edit" }));
  });
}

/* While a run goes on its page follows it, and is loaded anew when it has ended. */
async function onRun([, id]) {
  const place = make("section", { "aria-label": "Now" });
  find(".dt-lead").after(place);
  const { data: run } = await ask("GET", path("runs", id));
  if (isFinal(run)) addActions(place, ...actionsOf(run));
  else followRun(place, id, () => location.reload());
}

const PAGES = { index: onHome, board: onBoard, t: onTask, p: onProject, r: onRun, templates: onTemplates, dagtasks: showSettings };

function begin() {
  if (!find("link[href$='live.css']")) return load("live.css");
  const page = find(".dt");
  if (!page || "isLive" in page.dataset) return;
  page.dataset.isLive = "";
  const where = whereIsThis();
  addSettings(where[0] === "dagtasks");
  Promise.resolve(where).then(PAGES[where[0] || "index"]).catch(tell);
  sayWhatWasDone();
}

/* Begins when the style is there, so that nothing jumps. */
function load(style) {
  const link = make("link", { rel: "stylesheet", href: new URL(style, import.meta.url).href });
  ["load", "error"].forEach((name) => link.addEventListener(name, begin));
  document.head.append(link);
}

begin();
window.document$?.subscribe(begin); // the theme may change pages without loading them
