/* Small parts that everything here is made of. Texts go in as text only. */

let count = 0;
export const newId = () => `dt-live-${(count += 1)}`;
export const find = (selector, within = document) => within.querySelector(selector);
export const all = (selector, within = document) => [...within.querySelectorAll(selector)];
export const words = (name) => (name[0].toUpperCase() + name.slice(1)).replaceAll("_", " ");

/* An element with these attributes (true: there, false: not) and children. */
export function make(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  Object.entries(attributes).forEach(([name, value]) => {
    if (value !== false && value !== undefined) made.setAttribute(name, value === true ? "" : value);
  });
  made.append(...children);
  return made;
}

export function button(text, act, attributes = {}) {
  const made = make("button", { type: "button", class: "dt-button", ...attributes }, text);
  made.addEventListener("click", act);
  return made;
}

/* A button that copies; nothing where the browser does not let pages do that. */
export function copyButton(text) {
  if (!navigator.clipboard) return "";
  const made = button("Copy", async () => {
    made.textContent = await navigator.clipboard.writeText(text()).then(() => "Copied", () => "The browser does not allow it");
  }, { class: "dt-button dt-live-do", "aria-live": "polite" });
  return made;
}

/* A dialog with a title, that is taken away when it is closed; the focus goes back to where it was. */
export function openDialog(title, ...children) {
  const head = make("h2", { id: newId() }, title), back = document.activeElement;
  const dialog = make("dialog", { class: "dt-dialog dt-live", "aria-labelledby": head.id },
    button("Close", () => dialog.close(), { class: "dt-button dt-close" }), head, ...children);
  find(".dt").append(dialog);
  dialog.addEventListener("close", () => { dialog.remove(); if (back.isConnected) back.focus(); });
  dialog.showModal();
  return dialog;
}

/* Something that is done only after it was said what it means. `act` may fail; what went wrong is said in the dialog. */
export function openConfirm(title, verb, act, ...words) {
  const trouble = make("div", { class: "dt-live-trouble", role: "alert", tabindex: "-1" });
  const doIt = button(verb, async () => {
    doIt.disabled = true;
    trouble.replaceChildren();
    try { await act(); dialog.close(); } catch (error) {
      if (error.status === undefined) throw error;
      trouble.append(make("p", {}, make("b", {}, error.message), error.hint ? ` ${error.hint}` : ""));
      trouble.focus();
    } finally { doIt.disabled = false; }
  }, { class: "dt-button dt-live-do" });
  const dialog = openDialog(title, ...words, trouble, make("div", { class: "dt-live-end" }, doIt));
  find(".dt-close", dialog).focus();
  return dialog;
}

/* -- what was done: said on the page that comes next, or on this one -- */

const SAID = "dagtasks-said";

export function say(text, address, label) {
  find(".dt-live-said")?.remove();
  const words = make("span", { role: "status" }), said = make("div", { class: "dt-live-said" }, words);
  said.append(button("Close", () => said.remove()));
  find(".dt").append(said);
  requestAnimationFrame(() => words.append(text, ...(address ? [" ", make("a", { href: address }, label)] : [])));
}

/* Show the page, or another one, as it is by now. `focus` is where the reader goes on: an element's address on it. */
export function showAnew(text, { address, focus, to, label } = {}) {
  sessionStorage.setItem(SAID, JSON.stringify({ text, address, label, focus }));
  if (to) location.assign(to);
  else location.reload();
}

/* Say what is still to be said. */
export function sayWhatWasDone() {
  const kept = sessionStorage.getItem(SAID);
  if (!kept) return;
  sessionStorage.removeItem(SAID);
  const { text, address, label, focus } = JSON.parse(kept);
  say(text, address, label);
  if (focus) focusWhenThere(focus);
}

/* Also where the page is still being drawn, and what had the focus is put aside for that: until the reader does anything. */
function focusWhenThere(selector) {
  const look = () => { if (document.activeElement === document.body) find(selector)?.focus(); };
  const observer = new MutationObserver(look), end = () => observer.disconnect();
  observer.observe(find(".dt"), { childList: true, subtree: true });
  ["keydown", "pointerdown"].forEach((name) => window.addEventListener(name, end, { once: true, capture: true }));
  setTimeout(end, 3000);
  look();
}

/* Values that are the same say the same: maps in any order. */
export const same = (one, other) => JSON.stringify(sorted(one)) === JSON.stringify(sorted(other));

function sorted(value) {
  if (Array.isArray(value)) return value.map(sorted);
  if (!value || typeof value !== "object") return isNothing(value) ? null : value;
  const kept = Object.entries(value).filter(([, each]) => each !== undefined);
  return Object.fromEntries(kept.sort(([one], [other]) => (one < other ? -1 : 1)).map(([key, each]) => [key, sorted(each)]));
}

const isNothing = (value) => value === null || value === undefined || value === "";

/* As `parse_value` of the command line: true, false, whole numbers, lists and maps are what they are, the rest is text. */
export function parseValue(text) {
  const isTyped = text === "true" || text === "false" || /^-?(0|[1-9]\d{0,14})$/.test(text) || /^[[{]/.test(text);
  if (!isTyped) return text;
  try { return JSON.parse(text); } catch { return text; }
}

export const showValue = (value) => (isNothing(value) ? "" : typeof value === "string" ? value : JSON.stringify(value));
