/* Fields of forms. Each keeps what was typed as it was typed (`raw`, `put`), says what it means (`value`, `show`), and
   what cannot be meant by it (`fault`). */

import { button, find, make, newId, parseValue, same, showValue, words } from "./live-parts.js";

/* The field for a property of a JSON Schema; `own` is what a schema does not say of it. */
export function makeField(name, schema = {}, own = {}) {
  const inner = { ...schema, ...(schema.anyOf || []).find((each) => each.type !== "null") };
  const kind = own.kind || kindOf(inner);
  const given = { name, kind, choices: inner.enum, initial: schema.default, help: schema.description?.replaceAll("`", ""), label: words(name), ...own };
  return KINDS[kind](given);
}

function kindOf({ type, enum: choices }) {
  if (choices) return "choice";
  return { integer: "integer", boolean: "flag", array: "items", object: "rows" }[type] || "text";
}

const KINDS = { text: makeText, area: makeArea, date: makeDate, integer: makeInteger, choice: makeChoice, flag: makeFlag, items: makeItems, rows: makeRows, lines: makeLines, code: makeCode, number: makeNumber, json: makeJson };

/* A label, one control, a word of help, and room for what is wrong. */
function frame(given, control, methods) {
  control.id = newId();
  const help = make("p", { class: "dt-quiet", id: newId() }, given.help || ""), wrong = makeWrong();
  control.setAttribute("aria-describedby", `${help.id} ${wrong.id}`);
  if (given.isRequired) control.setAttribute("aria-required", "true");
  const label = make("label", { for: control.id }, given.label, given.isRequired ? make("span", { class: "dt-quiet" }, " needed") : "");
  const node = make("div", { class: "dt-live-field", "data-field": given.name, "data-kind": given.kind }, label, control, given.help ? help : "", wrong);
  const field = {
    name: given.name, given, node, control,
    raw: () => control.value, put: (raw) => { control.value = raw; },
    value: () => control.value || null, show: (value) => { control.value = showValue(value); },
    fault: () => "", ...methods,
  };
  return field;
}

function makeWrong() {
  return make("div", { class: "dt-live-wrong", id: newId() });
}

function makeText(given) {
  const control = make("input", { type: "text", autocomplete: "off", list: given.suggestions && newId() });
  const field = frame(given, control, given.isSecret && { raw: () => "" }); // drafts are written down
  if (given.suggestions) {
    const list = make("datalist", { id: control.getAttribute("list") }, ...given.suggestions.map((each) => make("option", { value: each })));
    field.node.append(list);
  }
  return field;
}

function makeArea(given) {
  return frame(given, make("textarea", { rows: given.rows || 6 }));
}

function makeDate(given) {
  const control = make("input", { type: "date", max: "9999-12-31" });
  return frame(given, control, { fault: () => (control.validity.badInput ? "This is not a whole date." : "") });
}

function makeInteger(given) {
  const control = make("input", { type: "number", step: "1" });
  return frame(given, control, {
    value: () => (control.value === "" ? null : Number(control.value)),
    fault: () => (control.validity.badInput || !Number.isInteger(Number(control.value)) ? "This is not a whole number." : ""),
  });
}

function makeNumber(given) {
  const control = make("input", { type: "number", step: "any" });
  return frame(given, control, {
    value: () => (control.value === "" ? null : Number(control.value)),
    fault: () => (control.validity.badInput ? "This is no number." : ""),
  });
}

/* Text that is written in lines, to which what is wrong may lead. */
function makeCode(given) {
  const control = make("textarea", { rows: 20, spellcheck: "false", wrap: "off", class: "dt-live-code" });
  return frame(given, control, {
    goTo: (line, column) => {
      const lines = control.value.split("\n"), start = lines.slice(0, line - 1).reduce((sum, each) => sum + each.length + 1, 0);
      control.focus();
      control.setSelectionRange(start + Math.max(0, column - 1), start + (lines[line - 1] ?? "").length);
      control.scrollTop = (line - 4) * (control.scrollHeight / lines.length);
    },
  });
}

/* A list of texts, one a line, in their order. */
function makeLines(given) {
  const control = make("textarea", { rows: 2 });
  return frame(given, control, {
    value: () => (control.value.trim() === "" ? null : control.value.replace(/\n+$/, "").split("\n")),
    show: (value) => { control.value = (value || []).join("\n"); },
  });
}

function makeChoice(given) {
  const control = make("select"), field = frame(given, control, {
    value: () => (control.value === "" ? null : typed.get(control.value)),
    put: show, show,
  });
  let typed = new Map();
  function show(value) {
    const text = showValue(value);
    if (text && !typed.has(text)) add(value, text);
    control.value = text;
  }
  function add(value, text) {
    typed.set(showValue(value), value);
    control.append(new Option(text, showValue(value)));
  }
  /* Other choices, as [value, text]; what was chosen stays so. */
  field.offer = (choices) => {
    const before = control.value, value = typed.get(before);
    typed = new Map();
    control.replaceChildren();
    if (given.none !== undefined) control.append(new Option(given.none, ""));
    choices.forEach(([each, text]) => add(each, text));
    if (before && field.keeps !== false) show(value); else control.value = typed.has(before) ? before : control.options[0]?.value ?? "";
  };
  field.offer((given.choices || []).map((each) => (Array.isArray(each) ? each : [each, given.isPlain ? showValue(each) : words(showValue(each))])));
  if (given.initial !== undefined) show(given.initial);
  return field;
}

function makeFlag(given) {
  const choices = [[true, "Yes"], [false, "No"]];
  return makeChoice({ ...given, kind: "choice", choices });
}

/* JSON, for values that no control of its own fits; text that is no JSON is text. */
function makeJson(given) {
  const control = make("textarea", { rows: 2, spellcheck: "false" });
  return frame(given, control, {
    value: () => (control.value === "" ? null : given.reads === "json" ? JSON.parse(control.value) : parseValue(control.value)),
    show: (value) => { control.value = value === null || value === undefined ? "" : given.reads === "json" ? JSON.stringify(value) : showValue(value); },
    fault: () => {
      if (given.reads !== "json" || control.value === "") return "";
      try { JSON.parse(control.value); return ""; } catch { return "This is no JSON."; }
    },
  });
}

/* -- several texts: typed, or chosen among those that `search` finds (then only those) -- */

function makeItems(given) {
  const chosen = make("ul", { class: "dt-live-chosen" }), box = make("input", { type: "text", autocomplete: "off" });
  const list = make("ul", { class: "dt-live-found", role: "listbox", id: newId(), "aria-label": given.label, hidden: true });
  const items = new Map();
  const field = frame(given, box, { raw, put, value, show, list });
  if (given.search) {
    [["role", "combobox"], ["aria-expanded", "false"], ["aria-controls", list.id], ["aria-autocomplete", "list"]]
      .forEach(([key, text]) => box.setAttribute(key, text));
  }
  find("label", field.node).after(chosen);
  box.after(list);

  function raw() { return { items: [...items], typed: box.value }; }
  function put(kept) {
    items.clear();
    kept.items.forEach(([key, text]) => items.set(key, text));
    box.value = kept.typed;
    draw();
  }
  /* What is typed and not yet added counts, too. */
  function value() {
    const found = [...new Set([...items.keys(), ...box.value.split(",").map((each) => each.trim()).filter(Boolean)])].sort();
    return found.length ? found : null;
  }
  function show(values) {
    put({ items: (values || []).map((each) => [each, given.names?.get(each) || ""]), typed: "" });
  }
  function draw() {
    chosen.replaceChildren(...[...items].map(([key, text]) => make("li", {}, make("span", { class: "dt-id" }, key), text ? ` ${text}` : "", " ",
      button("Remove", () => remove(key), { "aria-label": `Remove ${key} from ${given.label}` }))));
  }
  function remove(key) {
    items.delete(key);
    draw();
    box.focus();
    told();
  }
  function told() { box.dispatchEvent(new Event("input", { bubbles: true })); }
  function add(key, text = "") {
    items.set(key, text);
    box.value = "";
    close();
    draw();
    told();
  }

  let found = [], at = -1, asked = 0;
  function close() {
    list.hidden = true;
    found = [];
    at = -1;
    box.setAttribute("aria-expanded", "false");
    box.removeAttribute("aria-activedescendant");
  }
  function mark(next) {
    at = (next + found.length) % found.length;
    [...list.children].forEach((each, n) => each.setAttribute("aria-selected", String(n === at)));
    list.children[at].scrollIntoView({ block: "nearest" });
    box.setAttribute("aria-activedescendant", list.children[at].id);
  }
  async function look() {
    const mine = (asked += 1), text = box.value.trim();
    if (!text) return close();
    let rows = [], nothing = "Nothing is called so";
    try { rows = await given.search(text); } catch (error) { nothing = error.message; }
    if (mine !== asked || box.value.trim() !== text) return;
    found = rows.filter(([key]) => !items.has(key) && key !== given.without);
    list.replaceChildren(...found.map(([key, name]) => {
      const option = make("li", { role: "option", id: newId(), "aria-selected": "false" }, make("span", { class: "dt-id" }, key), ` ${name}`);
      option.addEventListener("pointerdown", (event) => { event.preventDefault(); add(key, name); });
      return option;
    }));
    if (!found.length) list.append(make("li", { role: "option", "aria-disabled": "true", "aria-selected": "false" }, nothing));
    list.hidden = false;
    box.setAttribute("aria-expanded", "true");
    if (found.length) mark(0);
  }
  box.addEventListener("input", () => {
    if (!given.search) return;
    clearTimeout(look.timer);
    look.timer = setTimeout(look, 120);
  });
  box.addEventListener("blur", close);
  box.addEventListener("keydown", (event) => {
    const { key } = event;
    if (key === "Escape" && !list.hidden) close();
    else if ((key === "ArrowDown" || key === "ArrowUp") && found.length) mark(at + (key === "ArrowDown" ? 1 : -1));
    else if ((key === "Enter" || (key === "," && !given.search)) && box.value.trim()) take();
    else return;
    event.preventDefault();
    event.stopPropagation();
  });
  function take() {
    if (found.length) return add(...found[at]);
    return given.search ? undefined : add(box.value.trim());
  }
  return field;
}

/* -- a map: rows of key and value -- */

function makeRows(given) {
  const rows = make("div", { class: "dt-live-rows" }), wrong = makeWrong();
  const more = button(`Add a row`, () => { add("", "").key.focus(); told(); });
  const node = make("fieldset", { class: "dt-live-field", "data-field": given.name, "aria-describedby": wrong.id },
    make("legend", {}, given.label), rows, more, wrong);
  let kept = [];
  const told = () => node.dispatchEvent(new Event("input", { bubbles: true }));
  function add(key, text, value) {
    const row = {
      key: make("input", { type: "text", "aria-label": "Key", placeholder: "Key", autocomplete: "off" }),
      text: make("textarea", { rows: 1, "aria-label": "Value", placeholder: "Value" }), value, was: text,
    };
    row.key.value = key;
    row.text.value = text;
    row.node = make("div", {}, row.key, row.text, button("Remove", () => { kept = kept.filter((each) => each !== row); row.node.remove(); more.focus(); told(); },
      { "aria-label": `Remove ${key || "the row"}` }));
    kept.push(row);
    rows.append(row.node);
    return row;
  }
  const valueOf = (row) => (row.value !== undefined && row.text.value === row.was ? row.value : parseValue(row.text.value));
  function put(raw) {
    kept = [];
    rows.replaceChildren();
    raw.forEach(([key, text, value, was]) => { Object.assign(add(key, text, value), { was }); });
  }
  function fault() {
    const keys = kept.map((row) => row.key.value.trim());
    if (kept.some((row, n) => !keys[n] && row.text.value)) return "A value stands without a key.";
    const twice = keys.find((key, n) => key && keys.indexOf(key) < n);
    return twice ? `The key ${twice} is there twice.` : "";
  }
  return {
    name: given.name, given, node, wrong, fault, put, isMap: true,
    get control() { return kept[0]?.key || more; },
    raw: () => kept.map((row) => [row.key.value, row.text.value, row.value, row.was]),
    value: () => {
      const found = kept.filter((row) => row.key.value.trim()).map((row) => [row.key.value.trim(), valueOf(row)]);
      return found.length ? Object.fromEntries(found) : null;
    },
    show: (map) => put(Object.entries(map || {}).map(([key, value]) => [key, showValue(value), value, showValue(value)])),
  };
}

/* -- types of events: all, all of a kind, single ones, and patterns that are typed -- */

export function makeEvents(name, types) {
  const wrong = makeWrong(), boxes = new Map(), given = { name, label: "Events" };
  const others = make("input", { type: "text", autocomplete: "off", id: newId(), placeholder: "*.created" });
  const box = (pattern, text) => {
    boxes.set(pattern, make("input", { type: "checkbox", value: pattern }));
    return make("label", {}, boxes.get(pattern), ` ${text}`);
  };
  const kinds = [...new Set(types.map((type) => type.split(".")[0]))];
  const rowOf = (kind) => make("div", { role: "group", "aria-label": words(kind) }, box(`${kind}.*`, `${words(kind)}: all`),
    ...types.filter((type) => type.startsWith(`${kind}.`)).map((type) => box(type, type.slice(kind.length + 1).replaceAll("_", " "))));
  const node = make("fieldset", { class: "dt-live-field dt-live-events", "data-field": name, "aria-describedby": wrong.id },
    make("legend", {}, given.label), box("*", "Every event"), ...kinds.map(rowOf), make("label", { for: others.id }, "Other patterns"), others, wrong);
  const chosen = () => [...boxes].filter(([, each]) => each.checked).map(([pattern]) => pattern);
  const typed = () => others.value.split(/[\s,]+/).filter(Boolean);
  node.addEventListener("change", mark);

  /* What is meant by another choice already cannot be chosen. */
  function mark() {
    boxes.forEach((each, pattern) => {
      each.disabled = pattern !== "*" && (boxes.get("*").checked || (!pattern.endsWith(".*") && boxes.get(`${pattern.split(".")[0]}.*`).checked));
      if (each.disabled) each.checked = false;
    });
    others.disabled = boxes.get("*").checked;
  }
  function put(raw) {
    boxes.forEach((each, pattern) => { each.checked = raw.chosen.includes(pattern); });
    others.value = raw.typed;
    mark();
  }
  return {
    name, given, node, wrong, put, control: boxes.get("*"),
    raw: () => ({ chosen: chosen(), typed: others.value }),
    value: () => (boxes.get("*").checked ? ["*"] : [...new Set([...chosen(), ...typed()])].sort()),
    show: (values) => put({ chosen: (values || []).filter((each) => boxes.has(each)), typed: (values || []).filter((each) => !boxes.has(each)).join(", ") }),
    fault: () => (boxes.get("*").checked || chosen().length || typed().length ? "" : "Choose at least one."),
  };
}

/* What a merge patch (RFC 7396) has to say so that the one becomes the other. */
export function patchOf(before, after) {
  const patch = {};
  new Set([...Object.keys(before || {}), ...Object.keys(after || {})]).forEach((key) => {
    const old = before?.[key] ?? null, next = after?.[key] ?? null;
    if (same(old, next)) return;
    patch[key] = isMap(old) && isMap(next) ? patchOf(old, next) : next;
  });
  return patch;
}

export const isMap = (value) => Boolean(value) && typeof value === "object" && !Array.isArray(value);
