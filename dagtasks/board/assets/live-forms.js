/* Forms in dialogs: what is typed is kept until it is saved, what the server says stands beside the field that it is
   about, and where somebody else was faster the reader chooses. */

import { ROOT } from "./live-api.js";
import { button, find, make, newId, openDialog, same, say, showValue } from "./live-parts.js";

/* -- what was typed and is not saved yet -- */

const placeOf = (key) => `dagtasks-draft ${ROOT.pathname} ${key}`;

function readDraft(key) {
  try { return JSON.parse(sessionStorage.getItem(placeOf(key))); } catch { return null; }
}

function keepDraft(key, draft) {
  try {
    if (draft) sessionStorage.setItem(placeOf(key), JSON.stringify(draft));
    else sessionStorage.removeItem(placeOf(key));
  } catch { /* it holds as long as the form is open */ }
}

/* Show a form. `key` is what drafts are kept under; `base` and `tag` are what is to be changed, as it is now; `send` saves
   the values and may raise `Trouble`; `reread` gives base and tag once more; `done` is told what `send` gave. */
export function openForm({ key, title, fields, base = {}, tag, verb = "Save", lead = "", send, reread, done, begin }) {
  const state = { base, tag, isSaved: false, once: {} };
  const note = make("div", { class: "dt-live-note" }), trouble = make("div", { class: "dt-live-trouble", tabindex: "-1", role: "alert" });
  const submit = make("button", { type: "submit", class: "dt-button dt-live-do" }, verb);
  const form = make("form", { novalidate: true, class: "dt-live-form" }, note, trouble, ...fields.map((field) => field.node),
    make("div", { class: "dt-live-end" }, submit));
  const dialog = openDialog(title, ...(lead ? [make("p", { class: "dt-quiet" }, lead)] : []), form);

  const raw = () => Object.fromEntries(fields.map((field) => [field.name, field.raw()]));
  fields.forEach((field) => { if (field.name in state.base) field.show(state.base[field.name]); });
  begin?.();
  let clean = JSON.stringify(raw());
  const isDirty = () => JSON.stringify(raw()) !== clean;
  restore();
  (fields.find((field) => !field.given.isQuiet) || fields[0])?.control.focus();

  function restore() {
    const draft = readDraft(key);
    if (!draft || JSON.stringify(draft.raw) === clean) return;
    fields.forEach((field) => { if (field.name in draft.raw) { field.put(draft.raw[field.name]); field.onPut?.(); } });
    Object.assign(state, { base: draft.base, tag: draft.tag });
    note.replaceChildren("This is what you had typed and not saved. ", button("Begin anew", forget));
  }
  function forget() {
    const first = JSON.parse(clean);
    fields.forEach((field) => { field.put(first[field.name]); field.onPut?.(); });
    Object.assign(state, { base, tag });
    keepDraft(key, null);
    note.replaceChildren();
    tellNothing();
    fields[0].control.focus();
  }
  function keep() {
    keepDraft(key, isDirty() ? { raw: raw(), base: state.base, tag: state.tag } : null);
  }
  const guard = (event) => { if (isDirty()) event.preventDefault(); };
  window.addEventListener("beforeunload", guard);
  form.addEventListener("input", keep);
  form.addEventListener("change", keep);
  dialog.addEventListener("close", () => {
    window.removeEventListener("beforeunload", guard);
    if (!state.isSaved && readDraft(key)) say("What you typed is kept: open the form again to go on with it.");
  });

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    save();
  });

  async function save(how) {
    if (submit.disabled) return;
    tellNothing();
    const faults = fields.map((field) => ({ field: field.name, message: field.fault() })).filter((fault) => fault.message);
    if (faults.length) return tell(faults);
    submit.disabled = true;
    form.setAttribute("aria-busy", "true");
    try {
      const values = Object.fromEntries(fields.map((field) => [field.name, field.value()]));
      const answer = await send(values, state, how);
      keepDraft(key, null);
      state.isSaved = true;
      clean = JSON.stringify(raw());
      dialog.close();
      done(answer);
    } catch (error) {
      if (error.status === undefined) throw error;
      await (error.status === 412 && reread ? compare(error) : tellTrouble(error));
    } finally {
      submit.disabled = false;
      form.removeAttribute("aria-busy");
    }
  }

  // -- what is wrong ------------------------------------------------------------------------------------------------------

  function tellNothing() {
    trouble.replaceChildren();
    fields.forEach((field) => {
      wrongOf(field).replaceChildren();
      field.control.removeAttribute("aria-invalid");
    });
  }

  /* Each beside its field, and what is of none of them above all; the focus goes to the first. */
  function tell(faults, more = []) {
    const named = (fault) => fields.find((field) => fault.field === field.name || fault.field?.startsWith(`${field.name}.`));
    const others = faults.filter((fault) => !named(fault)).map((fault) => make("p", {}, make("b", {}, fault.message), fault.hint ? ` ${fault.hint}` : ""));
    trouble.replaceChildren(...others, ...more);
    faults.filter(named).forEach((fault) => {
      const field = named(fault), place = fault.line && field.goTo ? [button(`Line ${fault.line}`, () => field.goTo(fault.line, fault.column)), " "] : [];
      wrongOf(field).append(make("p", {}, ...place, fault.message.replaceAll("`", ""), fault.hint ? make("span", { class: "dt-quiet" }, ` ${fault.hint}`) : ""));
      field.control.setAttribute("aria-invalid", "true");
    });
    const first = fields.find((field) => faults.some((fault) => named(fault) === field));
    (trouble.childNodes.length ? trouble : first.control).focus();
  }

  function tellTrouble(error) {
    const faults = error.faults.length ? error.faults : [{ message: error.message }];
    const told = faults.map((fault, n) => (n === 0 && !error.mayIgnore ? { ...fault, hint: fault.hint || error.hint } : fault));
    tell(told, error.mayIgnore ? [button("Do it all the same", () => save({ ignore: true }))] : []);
  }

  // -- somebody else was faster ---------------------------------------------------------------------------------------------

  async function compare(error) {
    let now;
    try { now = await reread(); } catch (other) { return tellTrouble(other.status === undefined ? error : other); }
    const changed = fields.filter((field) => !same(state.base[field.name], now.base[field.name]));
    const open = changed.filter((field) => !takeIn(field, state.base[field.name], now.base[field.name]));
    Object.assign(state, now);
    keep();
    const names = changed.map((field) => field.given.label).join(", ");
    trouble.replaceChildren(make("p", {}, make("b", {}, "Somebody has changed this meanwhile"), names ? ` (${names}). ` : ". ",
      open.length ? "Choose where you see two values, then save again." : "Nothing of yours is concerned: look at it, then save again."));
    const choice = open.length && find("input", wrongOf(open[0]));
    (choice || trouble).focus();
  }

  /* Whether it is clear what the field is now; else the reader is asked. */
  function takeIn(field, before, now) {
    const mine = field.value();
    if (same(mine, before) || same(mine, now)) field.show(now);
    else if (Array.isArray(mine ?? now ?? before)) field.show(mergeLists(before || [], mine || [], now || []));
    else if (field.isMap && canMerge(before || {}, mine || {}, now || {})) field.show(mergeMaps(before || {}, mine || {}, now || {}));
    else return offer(field, mine, now);
    return true;
  }

  function offer(field, mine, now) {
    const name = newId(), choice = (text, value, isFirst) => {
      const box = make("input", { type: "radio", name, checked: isFirst });
      box.addEventListener("change", () => { field.show(value); keep(); });
      return make("label", {}, box, ` ${text}: `, make("span", { class: "dt-live-value" }, showValue(value) || "nothing"));
    };
    wrongOf(field).replaceChildren(make("fieldset", {}, make("legend", {}, `${field.given.label}: which one?`),
      choice("Yours", mine, true), choice("As it is now", now, false)));
    return false;
  }

  return dialog;
}

const wrongOf = (field) => field.wrong || find(".dt-live-wrong", field.node);

const mergeLists = (before, mine, now) => [...new Set([...now.filter((each) => mine.includes(each) || !before.includes(each)), ...mine.filter((each) => !before.includes(each))])].sort();

const keysOf = (...maps) => [...new Set(maps.flatMap(Object.keys))];

function canMerge(before, mine, now) {
  return keysOf(before, mine, now).every((key) => same(mine[key], before[key]) || same(now[key], before[key]) || same(mine[key], now[key]));
}

function mergeMaps(before, mine, now) {
  const pairs = keysOf(now, mine).map((key) => [key, same(mine[key], before[key]) ? now[key] : mine[key]]);
  return Object.fromEntries(pairs.filter(([, value]) => value !== undefined));
}
