/* Moving a card to another column: dragged, with the keyboard, or from its panel. What is refused goes back. */

import { ask, path } from "./live-api.js";
import { all, button, find, make, openDialog, showAnew, words } from "./live-parts.js";
import { does } from "./live-runs.js";
import { focusOf, tell } from "./live-tasks.js";

const idOf = (card) => find(".dt-id", card).textContent;
const columnsOf = (card) => all(".dt-column:not([data-status=broken])", card.closest(".dt-columns"));
const cardAt = (place) => place?.closest?.(".dt-board .dt-card:not(.dt-card--broken)");

export function letCardsMove(board) {
  letDrag(board);
  window.addEventListener("keydown", onKey, true); // before the board, which goes from card to card with arrows
  const peek = find("#dt-peek"), menu = find("select", peek);
  menu.parentElement.after(does("Move", () => fromPanel(board, find(".dt-id", peek).textContent, menu.value), { class: "dt-button dt-live-do" }));
  find("#dt-help .dt-keys").append(make("div", {}, make("dt", {}, ...["Shift", "\u2190", "\u2192"].flatMap((key) => [make("kbd", {}, key), " "])), make("dd", {}, "move the card to the column beside")));
}

function fromPanel(board, id, status) {
  const card = all(".dt-card", board).find((each) => find(".dt-id", each)?.textContent === id);
  find("#dt-peek").close();
  return move(card, status);
}

function onKey(event) {
  const by = event.shiftKey && !event.ctrlKey && !event.altKey && !event.metaKey && { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  const card = by && event.target.matches(".dt-card__title a") && cardAt(event.target);
  if (!card || !find("#dt-keys")?.checked) return;
  event.preventDefault();
  event.stopImmediatePropagation();
  const columns = columnsOf(card), next = columns[columns.indexOf(card.closest(".dt-column")) + by];
  if (next && !event.repeat) move(card, next.dataset.status).catch(tell);
}

function letDrag(board) {
  let card;
  const targetOf = (event) => {
    const column = card && event.target.closest?.(".dt-column");
    return column && columnsOf(card).includes(column) && !column.contains(card) ? column : null;
  };
  const mark = (column) => all(".dt-live-target", board).concat(column || []).forEach((each) => each.classList.toggle("dt-live-target", each === column));
  board.addEventListener("dragstart", (event) => {
    card = cardAt(event.target);
    if (!card || card.ariaBusy) return;
    event.dataTransfer.effectAllowed = "move";
    event.dataTransfer.setData("text/plain", idOf(card));
    event.dataTransfer.setDragImage(card, 20, 20);
  });
  board.addEventListener("dragover", (event) => {
    const column = targetOf(event);
    mark(column);
    if (column) event.preventDefault();
  });
  board.addEventListener("dragend", () => { mark(null); card = null; });
  board.addEventListener("drop", (event) => {
    const column = targetOf(event), moved = card;
    if (!column) return;
    event.preventDefault();
    mark(null);
    move(moved, column.dataset.status).catch(tell);
  });
}

/* The card goes over at once, and comes back when that is refused. */
async function move(card, status, how) {
  if (card.ariaBusy) return;
  const item = card.parentElement, next = item.nextSibling, home = item.parentElement, id = idOf(card);
  const before = card.closest(".dt-column").dataset.status;
  card.ariaBusy = "true";
  find(".dt-cards", columnsOf(card).find((each) => each.dataset.status === status))?.prepend(item);
  try {
    await change(id, before, status, how);
    showAnew(`${id} is ${words(status).toLowerCase()} now.`, { focus: `.dt-card:has(${focusOf(id)}) .dt-card__title a` });
  } catch (error) {
    card.ariaBusy = null;
    home.insertBefore(item, next?.parentElement === home ? next : null);
    find("a", card).focus();
    if (error.status === undefined) throw error;
    refuse(error, id, () => move(card, status, { ignore: true }));
  }
}

async function change(id, before, status, how) {
  const address = path("tasks", id), { data: task, tag } = await ask("GET", address);
  if (task.status !== before) throw Object.assign(new Error(`Somebody has changed it meanwhile: it is ${words(task.status).toLowerCase()} now.`), { status: 412, hint: "" });
  await ask("PATCH", `${address}${how?.ignore ? "?ignore_dependencies=true" : ""}`, { body: { status }, tag });
}

function refuse(error, id, again) {
  const isOld = error.status === 412 || error.status === 404, end = make("div", { class: "dt-live-end" });
  const dialog = openDialog(`${id} stays where it was`, make("p", { role: "alert" }, make("b", {}, error.message), error.mayIgnore || !error.hint ? "" : ` ${error.hint}`), end);
  if (error.mayIgnore) end.append(button("Do it all the same", () => { dialog.close(); again().catch(tell); }));
  if (isOld) end.append(button("Show the board as it is now", () => location.reload()));
  find(".dt-close", dialog).focus();
}
