/* The board's page: filters, rows, order, keys and the panel, over the cards that came with the page. Texts go in as text only. */
(function () {
  "use strict";
  const Q = window.dagtasksQuery, table = Q.readTable(window.dagtasksTasks);
  const find = (selector, within = document) => within.querySelector(selector);
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];
  const tools = find("#dt-tools"), board = find("#dt-board"), columns = find(".dt-columns", board);
  const box = find("#dt-query"), wrong = find("#dt-wrong"), counter = find("#dt-found"), turn = find("#dt-turn");
  const peek = find("#dt-peek"), help = find("#dt-help"), keysOn = find("#dt-keys");
  const COLUMN = Number(board.dataset.limit), CELL = 10, OPEN = 250; // cards of a column, of a cell, of rows that begin open
  const unseen = /[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufeff]/gu;

  // -- small things -----------------------------------------------------------------------------------------------------

  const clean = (text) => text.replace(unseen, "");
  const words = (word) => (word[0].toUpperCase() + word.slice(1)).replaceAll("_", " ");
  const root = find("#dt-card").content.querySelector("a").getAttribute("href").replace(/board\.html$/, "");
  const uriOf = (task) => `${root}t/${encodeURIComponent(task.id)}.html`;

  /* As the pages clip (board/printable.py). */
  function clip(text, limit) {
    const line = clean(Array.from(text).slice(0, limit * 4).join("")).split(/[\s\x1c-\x1f\x85]+/u).filter(Boolean).join(" ");
    const letters = Array.from(line);
    return letters.length <= limit ? line : `${letters.slice(0, limit - 1).join("").trimEnd()}…`;
  }

  function make(tag, className, ...children) {
    const made = document.createElement(tag);
    if (className) made.className = className;
    made.append(...children);
    return made;
  }

  function button(text, act) {
    const made = make("button", "dt-button", text);
    made.type = "button";
    made.addEventListener("click", act);
    return made;
  }

  function today() {
    const now = new Date(), two = (number) => String(number).padStart(2, "0");
    return `${now.getFullYear()}-${two(now.getMonth() + 1)}-${two(now.getDate())}`;
  }

  /* What a reader chose to keep; where nothing can be kept, it holds as long as the page. */
  const memory = { folded: [], keys: true };
  try { Object.assign(memory, JSON.parse(localStorage.getItem("dagtasks-board"))); } catch { /* begin anew */ }
  function remember(change) {
    Object.assign(memory, change);
    try { localStorage.setItem("dagtasks-board", JSON.stringify(memory)); } catch { /* it holds for now */ }
  }

  // -- the view: what the address says ------------------------------------------------------------------------------------

  const isAlone = table.projects.length === 1;
  /* What tasks of a row have in common; the row's name; and its place among the others (null: last). */
  const GROUPS = {
    project: [(task) => task.project, (task) => task.projectName, (task) => [task.project]],
    phase: [(task) => task.phase, (task) => (task.phase ? nameOfPhase(task.phase) : "No phase"),
      (task) => task.phase && [task.phase.project, task.phase.order ?? 1e9, task.phase.key]],
    assignee: [(task) => task.person, (task) => (task.person ? task.person.name : "Nobody"),
      (task) => task.person && [Q.fold(task.person.name), task.person.name]],
    priority: [(task) => task.priority, (task) => words(task.priority), (task) => [-table.priorities.indexOf(task.priority)]],
  };
  const nameOfPhase = (phase) => (isAlone ? phase.name : `${phase.name} (${phase.projectName})`);

  function readView(hash) {
    const given = new URLSearchParams(hash.slice(1));
    const group = given.get("group") || "";
    return {
      q: given.get("q") || "", group: Object.hasOwn(GROUPS, group) ? group : "",
      sort: given.get("sort") || "", density: given.get("density") === "compact" ? "compact" : "",
    };
  }

  function writeView(view) {
    const pairs = Object.entries(view).filter(([, value]) => value);
    const write = (value) => encodeURIComponent(value).replace(/%3A/g, ":").replace(/%2C/g, ",").replace(/%40/g, "@").replace(/%20/g, "+");
    return pairs.length ? `#${pairs.map(([key, value]) => `${key}=${write(value)}`).join("&")}` : "";
  }

  let view = readView(""), found = { tasks: [], wantsBroken: false };

  /* Show another view. `how`: whether it gets a place of its own in the history ("push"), or none. */
  function change(changes, how) {
    const next = { ...view, ...changes };
    history[`${how}State`](null, "", writeView(next) || location.pathname + location.search);
    show(next);
  }

  function show(next, patience = 0) {
    view = next;
    mirror();
    clearTimeout(show.timer);
    try {
      found = select(view);
    } catch (error) {
      if (!(error instanceof Q.QueryError)) throw error;
      show.timer = setTimeout(() => tellWrong(error), patience);
      return;
    }
    tellWrong(null);
    draw();
  }

  const orders = new Map();
  function order(by) {
    if (!orders.has(by)) orders.set(by, by ? Q.sort(table.tasks, by, table) : byUrgency());
    return orders.get(by);
  }

  /* As the columns of the page: most urgent first, then by day, then by id, by which they are ordered already. */
  function byUrgency() {
    const keys = table.tasks.map((task) => `${9 - table.priorities.indexOf(task.priority)}${task.due || "9999"}`);
    return [...table.tasks].sort((one, other) => (keys[one.n] < keys[other.n] ? -1 : keys[one.n] > keys[other.n] ? 1 : 0));
  }

  function select({ q, sort }) {
    const { tests, wantsBroken } = Q.parse(q, table, today());
    return { tasks: order(sort).filter((task) => tests.every((test) => test(task))), wantsBroken: wantsBroken || !q.trim() };
  }

  function tellWrong(error) {
    box.toggleAttribute("aria-invalid", Boolean(error));
    wrong.replaceChildren(...(error ? [make("b", "", clean(error.message)), " ", make("span", "", clean(error.hint))] : []));
  }

  // -- cards --------------------------------------------------------------------------------------------------------------

  const pattern = find("#dt-card").content.firstElementChild, made = new Map();
  const cardOf = (task) => made.get(task.id) || made.set(task.id, makeCard(task)).get(task.id);

  function makeCard(task) {
    const item = pattern.cloneNode(true), part = (name) => find(`.dt-${name}`, item);
    part("card").className = `dt-card dt-p-${task.priority}`;
    part("id").textContent = task.id;
    fillPriority(part("priority"), task.priority);
    const link = find("a", item);
    link.textContent = clip(task.name, 140);
    link.href = uriOf(task);
    fillLabels(part("card__labels"), task);
    fillFoot(part("card__foot"), task);
    return item;
  }

  function fillPriority(mark, priority) {
    mark.className = `dt-priority dt-icon dt-p-${priority}`;
    mark.textContent = words(priority);
  }

  function fillLabels(line, task) {
    if (!task.phase && !task.labels.length) return line.remove();
    const [where, label, more] = [".dt-where", ".dt-label", ".dt-label--more"].map((name) => find(name, line));
    if (task.phase) where.textContent = clip(task.phase.name, 24); else where.remove();
    label.replaceWith(...task.labels.slice(0, 3).map((name) => make("span", "dt-label", clip(name, 24))));
    if (task.labels.length > 3) more.textContent = `+${task.labels.length - 3}`; else more.remove();
  }

  function fillFoot(line, task) {
    const [ready, needs, due, face] = [".dt-is-ready", ".dt-is-waiting", ".dt-due", ".dt-face"].map((name) => find(name, line));
    const isReady = Q.isReady(task);
    if (!isReady && !task.needs && !task.due && !task.person) return line.remove();
    if (!isReady) ready.remove();
    if (task.needs) fillNeeds(needs, task); else needs.remove();
    if (task.due) fillDue(due, task); else due.remove();
    if (task.person) fillFace(face, task.person); else face.remove();
  }

  function fillNeeds(mark, task) {
    mark.classList.toggle("dt-is-waiting", task.open > 0);
    mark.lastChild.data = mark.lastChild.data.replace(/\d+\/\d+/, `${task.needs - task.open}/${task.needs}`);
  }

  function fillDue(mark, task) {
    const time = find("time", mark);
    time.dateTime = time.textContent = task.due;
    mark.classList.toggle("dt-is-overdue", Q.isOverdue(task, today()));
    if (Q.isOpen(task)) mark.dataset.due = task.due;
    else { mark.removeAttribute("data-due"); find(".dt-late", mark).remove(); }
  }

  function fillFace(face, person) {
    face.className = `dt-face dt-hue-${person.hue}${person.isAgent ? " dt-face--agent" : ""}`;
    face.title = clean(person.name);
    face.textContent = clean(person.initials);
  }

  // -- columns and rows ---------------------------------------------------------------------------------------------------

  all(".dt-column", columns).forEach((column) => {
    column.more = find(".dt-more", column);
    all(".dt-card:not(.dt-card--broken)", column).forEach((card) => made.set(find(".dt-id", card).textContent, card.parentElement));
  });
  const blank = columns.cloneNode(true);
  all("[data-status=broken]", blank).forEach((column) => column.remove());
  all(".dt-cards", blank).forEach((list) => list.replaceChildren());

  function draw() {
    counter.textContent = tally();
    board.classList.toggle("dt-board--compact", view.density === "compact");
    board.classList.toggle("dt-board--rows", Boolean(view.group));
    if (view.group) drawRows(); else drawColumns();
  }

  function tally() {
    const total = table.tasks.length, plural = total === 1 ? "" : "s";
    if (view.q.trim()) return `${found.tasks.length} of ${total} task${plural}`;
    return `${total} task${plural}, ${table.tasks.filter(Q.isReady).length} ready to start`;
  }

  function drawColumns() {
    board.replaceChildren(columns);
    const broken = find("[data-status=broken]", columns);
    if (broken) broken.hidden = !found.wantsBroken;
    fillColumns(columns, found.tasks, COLUMN);
    fold();
  }

  function fillColumns(place, tasks, limit) {
    const groups = new Map(table.statuses.map((status) => [status, []]));
    tasks.forEach((task) => groups.get(task.status).push(task));
    all("[data-status]:not([data-status=broken])", place).forEach((column) => fillColumn(column, groups.get(column.dataset.status), limit));
  }

  function fillColumn(column, tasks, limit) {
    find(".dt-count", column).textContent = tasks.length;
    const list = find(".dt-cards", column), rest = tasks.length - limit;
    list.replaceChildren(...tasks.slice(0, limit).map(cardOf));
    if (rest > 0) list.append(moreOf(column, tasks, limit));
    const empty = find(".dt-empty", column);
    if (tasks.length && empty) empty.remove();
    else if (!tasks.length && !empty) list.after(make("p", "dt-empty", "Nothing here"));
  }

  function moreOf(column, tasks, limit) {
    const next = Math.min(COLUMN, tasks.length - limit);
    const item = make("li", "dt-more", button(`Show ${next} more`, () => {
      fillColumn(column, tasks, limit + next);
      find(`li:nth-child(${limit + 1}) a`, column)?.focus();
    }));
    if (column.more && !view.q.trim()) item.append(...column.more.cloneNode(true).childNodes);
    return item;
  }

  function drawRows() {
    const rows = new Map(), [common, nameOf, placeOf] = GROUPS[view.group];
    found.tasks.forEach((task) => (rows.get(common(task)) || rows.set(common(task), []).get(common(task))).push(task));
    const sorted = [...rows.values()].map((tasks) => ({ tasks, name: nameOf(tasks[0]), place: placeOf(tasks[0]) }))
      .sort((one, other) => (one.place && other.place ? Q.compare(one.place, other.place) : !one.place - !other.place));
    let room = OPEN;
    board.replaceChildren(...sorted.map((row, number) => {
      const isOpen = room > 0;
      room -= Math.min(row.tasks.length, CELL * table.statuses.length);
      return makeRow(row, number, isOpen);
    }));
    if (!sorted.length) board.append(make("p", "dt-empty", "No task is like that."));
  }

  function makeRow(row, number, isOpen) {
    const head = button(clip(row.name, 100), () => openRow(section, row, number, head.ariaExpanded !== "true"));
    head.append(" ", make("span", "dt-count", String(row.tasks.length)));
    const title = make("h2", "dt-row__head", head), section = make("section", "dt-lane", title);
    title.id = `dt-row-${number}`;
    section.setAttribute("aria-labelledby", title.id);
    openRow(section, row, number, isOpen);
    return section;
  }

  function openRow(section, row, number, isOpen) {
    find("button", section).ariaExpanded = String(isOpen);
    find(".dt-columns", section)?.remove();
    if (!isOpen) return;
    const place = blank.cloneNode(true);
    all(".dt-column", place).forEach((column) => readyForRow(column, number));
    fillColumns(place, row.tasks, CELL);
    const kept = new Set(found.tasks.map((task) => task.status));
    all(".dt-column", place).forEach((column) => { column.hidden = !kept.has(column.dataset.status); });
    section.append(place);
  }

  function readyForRow(column, number) {
    const old = find("h2", column), head = make("h3", old.className, ...old.childNodes), scroll = find(".dt-scroll", column);
    head.id = `${old.id}-${number}`;
    old.replaceWith(head);
    find(".dt-fold", column).remove();
    column.setAttribute("aria-labelledby", `dt-row-${number} ${head.id}`);
    ["tabindex", "role", "aria-labelledby"].forEach((name) => scroll.removeAttribute(name));
  }

  function fold() {
    all(".dt-column", columns).forEach((column) => {
      const isFolded = memory.folded.includes(column.dataset.status);
      column.classList.toggle("dt-is-folded", isFolded);
      find(".dt-fold", column).ariaExpanded = String(!isFolded);
    });
  }

  columns.addEventListener("click", (event) => {
    const head = event.target.closest(".dt-fold"), status = head?.closest(".dt-column").dataset.status;
    if (!head) return;
    const others = memory.folded.filter((each) => each !== status);
    remember({ folded: others.length < memory.folded.length ? others : [...others, status] });
    fold();
  });

  // -- the bar: a box, and menus that say the same ------------------------------------------------------------------------

  const keyOf = (word) => (word.startsWith("@") ? "assignee" : word.startsWith("-") || word.startsWith('"') ? "" : word.split(":")[0]);
  const textOf = (word) => (word.startsWith("@") ? word.slice(1) : word.slice(word.indexOf(":") + 1));
  const isOf = (key) => (word) => keyOf(word) === key && (word.includes(":") || word.startsWith("@"));
  const option = (value, text = value) => new Option(clip(text, 60), value);

  function fillMenus() {
    const phases = table.phases.filter((phase) => phase.order !== null)
      .sort((one, other) => Q.compare([one.project, one.order, one.key], [other.project, other.order, other.key]));
    const choices = {
      status: table.statuses.map((status) => option(status, words(status))),
      priority: [...table.priorities].reverse().map((priority) => option(priority, words(priority))),
      project: table.projects.filter((project) => project[2]).map(([key, name]) => option(key, name)),
      phase: phases.map((phase) => option(isAlone ? phase.key : phase.id, nameOfPhase(phase))),
      assignee: table.people.map((person) => option(person.name)),
      label: table.labels.map((label) => option(label)),
    };
    all("select[data-key]", tools).forEach((menu) => {
      menu.append(...choices[menu.dataset.key]);
      menu.parentElement.hidden = menu.options.length === 1;
      menu.addEventListener("change", () => change({ q: withTerm(menu.dataset.key, menu.value) }, "push"));
    });
  }

  function withTerm(key, value) {
    const others = Q.splitWords(view.q).filter((word) => !isOf(key)(word));
    return [...others, ...(value ? [`${key}:${Q.quote(value)}`] : [])].join(" ");
  }

  function mirror() {
    if (box.value !== view.q) box.value = view.q;
    all("select[data-key]", tools).forEach(mirrorMenu);
    const back = view.sort.startsWith("-");
    all("select[data-view]", tools).forEach((menu) => {
      menu.value = menu.dataset.view === "sort" ? view.sort.replace(/^-/, "") : view[menu.dataset.view];
      menu.classList.toggle("dt-is-set", Boolean(menu.value));
    });
    turn.ariaPressed = String(back);
    turn.disabled = !view.sort;
    const here = writeView(view);
    all(".dt-head .dt-chip").forEach((link) => link.toggleAttribute("aria-current", writeView(readView(link.hash)) === here));
  }

  /* Several values of one key are an entry of their own. */
  function mirrorMenu(menu) {
    const values = Q.splitWords(view.q).filter(isOf(menu.dataset.key)).flatMap((word) => Q.splitValues(textOf(word)));
    all("[data-more]", menu).forEach((entry) => entry.remove());
    const text = values.join(", ");
    if (text && ![...menu.options].some((entry) => entry.value === text)) {
      menu.append(option(text));
      menu.lastChild.dataset.more = "";
    }
    menu.value = text;
    menu.classList.toggle("dt-is-set", Boolean(text));
  }

  function onType(wait) {
    clearTimeout(onType.timer);
    onType.timer = setTimeout(() => {
      if (box.value === view.q) return;
      const how = onType.isGoing ? "replace" : "push";
      onType.isGoing = true;
      const next = { ...view, q: box.value };
      history[`${how}State`](null, "", writeView(next) || location.pathname + location.search);
      show(next, wait && 500);
    }, wait);
  }

  box.addEventListener("input", () => onType(100));
  box.addEventListener("change", () => { onType(0); onType.isGoing = false; });
  all("select[data-view]", tools).forEach((menu) => menu.addEventListener("change", () => change({ [menu.dataset.view]: menu.value }, "push")));
  turn.addEventListener("click", () => change({ sort: view.sort.startsWith("-") ? view.sort.slice(1) : `-${view.sort}` }, "push"));
  find("#dt-unfold").addEventListener("click", ({ currentTarget }) => {
    currentTarget.ariaExpanded = String(tools.classList.toggle("dt-tools--open"));
  });

  // -- the panel ------------------------------------------------------------------------------------------------------------

  const command = find("code", peek), moves = find("select", peek);

  function look(link) {
    const task = taskOf(link);
    if (!task) return;
    look.at = link;
    find(".dt-id", peek).textContent = task.id;
    const title = find("h2 a", peek);
    title.textContent = clip(task.name, 500);
    title.href = uriOf(task);
    find("dl", peek).replaceChildren(...factsOf(task).filter(([, value]) => value).map(([name, value]) =>
      make("div", "", make("dt", "", clip(name, 80)), make("dd", "", value))));
    moves.replaceChildren(...table.statuses.filter((status) => status !== task.status).map((status) => option(status, words(status))));
    sayCommand();
    if (!peek.open) peek.showModal();
    title.focus();
  }

  const taskOf = (link) => table.byId.get(find(".dt-id", link.closest(".dt-card"))?.textContent);

  function factsOf(task) {
    const card = find(".dt-card", cardOf(task)), copyOf = (name) => find(name, card)?.cloneNode(true);
    const status = find(`.dt-columns [data-status=${task.status}] .dt-status`).cloneNode(true);
    const state = find(".dt-is-ready", card) ? " Ready" : task.open && Q.isOpen(task) ? ` waits for ${task.open}` : "";
    const labels = make("span", "", ...task.labels.flatMap((label) => [make("span", "dt-label", clean(label)), " "]));
    const person = task.person && make("span", "dt-person", copyOf(".dt-face"), make("span", "", clean(task.person.name)));
    const own = [...table.metadata].filter(([, texts]) => texts.has(task.n)).map(([path, texts]) => [path, clip(texts.get(task.n).join(", "), 300)]);
    return [
      ["Status", make("span", "", status, state)], ["Priority", copyOf(".dt-priority")], ["Assignee", person], ["Due", copyOf(".dt-due")],
      ["Project", clean(task.projectName)], ["Phase", task.phase && clean(task.phase.name)], ["Labels", task.labels.length && labels],
      ["Dependencies done", task.needs && `${task.needs - task.open} of ${task.needs}`], ...own,
    ];
  }

  function sayCommand() {
    command.textContent = `dagtasks task set ${find(".dt-id", peek).textContent} status=${moves.value}`;
  }

  moves.addEventListener("change", sayCommand);
  peek.addEventListener("close", () => look.at?.isConnected && look.at.focus());
  all("dialog").forEach((dialog) => dialog.addEventListener("click", (event) => {
    if (event.target === dialog || event.target.closest(".dt-close")) dialog.close();
  }));
  find("#dt-help-open").addEventListener("click", () => help.showModal());

  // -- keys -----------------------------------------------------------------------------------------------------------------

  const linksOf = (status) => all(`[data-status=${status}]:not(.dt-is-folded) .dt-card__title a`, board).filter((link) => link.getClientRects().length);
  const statusOf = (link) => link.closest(".dt-column").dataset.status;
  const here = () => (peek.open ? look.at : document.activeElement.closest?.(".dt-board .dt-card__title a"));

  function go(link) {
    if (!link) return;
    link.closest(".dt-card").scrollIntoView({ block: "nearest", inline: "nearest" });
    if (peek.open) look(link); else link.focus({ preventScroll: true });
  }

  function step(by) {
    const link = here(), links = link ? linksOf(statusOf(link)) : [];
    go(link ? links[links.indexOf(link) + by] : find(".dt-column:not(.dt-is-folded):not([hidden]) .dt-card__title a", board));
  }

  function cross(by) {
    const link = here();
    if (!link) return step(1);
    const statuses = all(".dt-column", link.closest(".dt-columns")).map((column) => column.dataset.status);
    const place = linksOf(statusOf(link)).indexOf(link);
    for (let n = statuses.indexOf(statusOf(link)) + by; n >= 0 && n < statuses.length; n += by) {
      const links = linksOf(statuses[n]);
      if (links.length) return go(links[Math.min(place, links.length - 1)]);
    }
  }

  const KEYS = {
    "/": () => { box.focus(); box.select(); },
    "?": () => help.showModal(),
    g: () => {}, b: () => change(readView(""), "push"),
    j: () => step(1), k: () => step(-1), h: () => cross(-1), l: () => cross(1),
    ArrowDown: () => step(1), ArrowUp: () => step(-1), ArrowLeft: () => cross(-1), ArrowRight: () => cross(1),
    " ": () => (peek.open ? peek.close() : look(here())),
  };
  const ON_CARDS = ["ArrowDown", "ArrowUp", "ArrowLeft", "ArrowRight", " "], IN_PANEL = ["j", "k", "h", "l", ...ON_CARDS];

  function onKey(event) {
    const { key, target } = event, before = onKey.before;
    if (!tools.isConnected || event.ctrlKey || event.metaKey || event.altKey) return;
    onKey.before = key;
    if (target === box && key === "Escape" && !box.value) box.blur();
    if (!memory.keys || all("dialog:modal").some((each) => each !== peek) || target.closest?.("input, select, textarea, [contenteditable]")) return;
    if (!Object.hasOwn(KEYS, key) || (key === "b" && before !== "g") || (peek.open && !IN_PANEL.includes(key))) return;
    if (ON_CARDS.includes(key) && (!here() || target.closest("button"))) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    KEYS[key]();
  }

  document.addEventListener("keydown", onKey, true); // before the theme, which has keys of its own
  keysOn.checked = memory.keys;
  keysOn.addEventListener("change", () => remember({ keys: keysOn.checked }));

  // -- begin ----------------------------------------------------------------------------------------------------------------

  const restore = () => tools.isConnected && writeView(readView(location.hash)) !== writeView(view) && show(readView(location.hash));
  ["popstate", "hashchange"].forEach((name) => window.addEventListener(name, restore));
  fillMenus();
  all(":disabled", tools).concat(all(".dt-fold", board)).forEach((part) => { part.disabled = false; });
  mirror();
  fold();
  restore();
})();
