/* The query language of `dagtasks task list` (planning/query.py): the same words, results, order and errors. No page, no clock. */
(function () {
  "use strict";
  const STATES = ["ready", "waiting", "blocked", "overdue", "open", "invalid"];
  const KEYS = ["status", "priority", "project", "phase", "assignee", "label", "due", "is", "id", "metadata.<key>"];
  // Written out, because Python takes other characters for blanks, and `.` for all but a line feed.
  const BLANK = "\\t-\\r\\x1c- \\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000";
  const QUOTED = '"((?:[^"\\\\]|\\\\[^\\n])*)"';
  const WORD = new RegExp(`(?:[^${BLANK}"]|${QUOTED})+`, "gu");
  const PART = new RegExp(`(?:[^,"]|${QUOTED})+`, "gu");
  const DUE = /^(<=|>=|<|>|=)?(\p{Nd}{4}-\p{Nd}{2}-\p{Nd}{2})$/u;

  class QueryError extends Error {
    constructor(message, hint = "") { super(message); this.hint = hint; }
  }

  // -- the table: the index (board/taskindex.py) as one object for each task ------------------------------------------

  function readTable(raw) {
    const phases = raw.phases.map(([number, key, name, order]) => {
      const [project, projectName] = raw.projects[number];
      return { project, projectName, key, name, order, id: `${project}/${key}` };
    });
    const people = raw.people.map(([name, initials, hue, isAgent]) => ({ name, initials, hue, isAgent }));
    const tasks = raw.ids.map((id, n) => ({
      n, id, name: raw.names[n], status: raw.statuses[raw.status[n]], priority: raw.priorities[raw.priority[n]],
      project: raw.projects[raw.project[n]][0], projectName: raw.projects[raw.project[n]][1],
      phase: phases[raw.phase[n] - 1] || null, person: people[raw.assignee[n] - 1] || null,
      labels: raw.sets[raw.set[n]].map((label) => raw.labels[label]), due: raw.days[raw.due[n] - 1] || null,
      needs: raw.needs[n], open: raw.open[n],
    }));
    const broken = raw.broken.map(([id, project, path]) => ({ id, project, path }));
    return { ...raw, phases, people, tasks, broken, metadata: readMetadata(raw.metadata), byId: new Map(tasks.map((task) => [task.id, task])) };
  }

  function readMetadata(columns) {
    return new Map(columns.map(([path, steps, texts]) => {
      let number = 0;
      return [path, new Map(steps.map((step, n) => [number += step, [].concat(texts[n])]))];
    }));
  }

  const isOpen = (task) => task.status !== "completed" && task.status !== "cancelled";
  const isReady = (task) => task.status === "planned" && !task.open;
  const isWaiting = (task) => task.status === "planned" && task.open > 0;
  const isOverdue = (task, today) => isOpen(task) && task.due !== null && task.due < today;

  // -- words ----------------------------------------------------------------------------------------------------------

  const splitWords = (text) => text.match(WORD) || [];
  const splitValues = (text) => (text.match(PART) || []).map(unquote);
  const unquote = (text) => text.replace(new RegExp(QUOTED, "gu"), (_, inner) => inner.replace(/\\([^\n])/gu, "$1"));
  const quote = (text) => (new RegExp(`[${BLANK}",]`, "u").test(text) || !text ? `"${text.replace(/["\\]/g, "\\$&")}"` : text);

  /* The tests of a query; all must hold. Throws `QueryError` for what no task of the table could ever be. */
  function parse(text, table, today) {
    if (text.replace(WORD, "").includes('"')) throw new QueryError(`a quote is not closed in the query ${repr(text)}`);
    const words = splitWords(text);
    return { tests: words.map((word) => parseWord(word, table, today)), wantsBroken: words.includes("is:invalid") };
  }

  function parseWord(word, table, today) {
    const bare = word.replace(/^-+/, "") || word.slice(-1);
    if (bare !== word) {
      const test = parseWord(bare, table, today);
      return (word.length - bare.length) % 2 ? (task) => !test(task) : test;
    }
    if (word.startsWith("@")) return parseTerm("assignee", word.slice(1), table, today);
    const colon = word.indexOf(":");
    if (colon < 0 || word.startsWith('"')) return freeText(unquote(word));
    return parseTerm(word.slice(0, colon), word.slice(colon + 1), table, today);
  }

  function parseTerm(key, text, table, today) {
    const values = splitValues(text);
    if (!values.length) throw new QueryError(`the query has no value after ${repr(key)}`);
    if (key.startsWith("metadata.")) return metadata(key.slice(9), values, table);
    if (!Object.hasOwn(TERMS, key)) throw new QueryError(`a query has no key ${repr(key)}`, chooseFrom(key, KEYS));
    return TERMS[key](values, table, today);
  }

  function freeText(words) {
    const wanted = fold(words);
    return (task) => (task.folded ??= fold(task.name)).includes(wanted) || task.id.includes(wanted);
  }

  function metadata(path, values, table) {
    const texts = table.metadata.get(path) || new Map();
    return (task) => (texts.get(task.n) || []).some((text) => values.includes(text));
  }

  function check(key, values, known) {
    const allowed = new Set(known), wrong = values.find((value) => !allowed.has(value));
    if (wrong !== undefined) throw new QueryError(`no task has ${key} ${repr(wrong)}`, chooseFrom(wrong, allowed));
    return new Set(values);
  }

  const TERMS = {
    status(values, table) {
      const wanted = check("status", values, table.statuses);
      return (task) => wanted.has(task.status);
    },
    priority(values, table) {
      const wanted = check("priority", values, table.priorities);
      return (task) => wanted.has(task.priority);
    },
    project(values, table) {
      const wanted = check("project", values, table.projects.filter((project) => project[2]).map((project) => project[0]));
      return (task) => wanted.has(task.project);
    },
    phase(values, table) {
      const wanted = check("phase", values, table.phases.filter((phase) => phase.order !== null).flatMap((phase) => [phase.key, phase.id]));
      return (task) => task.phase !== null && (wanted.has(task.phase.key) || wanted.has(task.phase.id));
    },
    assignee(values, table) {
      const wanted = check("assignee", values, table.people.map((person) => person.name));
      return (task) => task.person !== null && wanted.has(task.person.name);
    },
    label(values, table) {
      const wanted = check("label", values, table.labels);
      return (task) => task.labels.some((label) => wanted.has(label));
    },
    id(values, table) {
      const wanted = new Set(values.map((value) => getTask(value, table).id));
      return (task) => wanted.has(task.id);
    },
    due(values) {
      const found = values.map((value) => value.match(DUE));
      if (found.includes(null)) throw new QueryError(`${repr(values.join(","))} is no date to compare with`, "write due:<2026-12-31");
      return (task) => task.due !== null && found.some(([, sign, day]) => compareDay(task.due, sign || "=", day));
    },
    is(values, _, today) {
      check("state", values, STATES);
      const tests = {
        ready: isReady, waiting: isWaiting, open: isOpen, invalid: () => false,
        blocked: (task) => task.status === "blocked" || isWaiting(task),
        overdue: (task) => isOverdue(task, today),
      };
      return (task) => values.some((value) => tests[value](task));
    },
  };

  function compareDay(due, sign, day) {
    return { "<": due < day, "<=": due <= day, ">": due > day, ">=": due >= day, "=": due === day }[sign];
  }

  const begins = (id, text) => id.startsWith(text) || afterDash(id).startsWith(text);
  const afterDash = (id) => (id.includes("-") ? id.slice(id.indexOf("-") + 1) : "");

  function getTask(text, table) {
    if (table.byId.has(text)) return table.byId.get(text);
    const found = text ? table.tasks.filter((task) => begins(task.id, text)) : [];
    const exact = found.filter((task) => afterDash(task.id) === text);
    const fitting = exact.length ? exact : found;
    if (fitting.length === 1) return fitting[0];
    if (fitting.length) {
      const more = fitting.length > 20 ? ` and ${fitting.length - 20} more` : "";
      const listing = fitting.slice(0, 20).map((task) => task.id).join(", ");
      throw new QueryError(`${repr(text)} fits ${fitting.length} tasks`, `say more of the id: ${listing}${more}`);
    }
    const broken = table.broken.find((file) => begins(file.id, text));
    const hint = broken ? `its file ${broken.path} cannot be read: see \`dagtasks validate\`` : chooseFrom(text, table.byId.keys());
    throw new QueryError(`there is no task ${repr(text)}`, hint);
  }

  // -- order ----------------------------------------------------------------------------------------------------------

  const SORTS = {
    id: (task) => task.id,
    name: (task) => (task.folded ??= fold(task.name)),
    status: (task, table) => table.statuses.indexOf(task.status),
    priority: (task, table) => table.priorities.indexOf(task.priority),
    due: (task) => task.due,
    assignee: (task) => task.person && task.person.name,
    phase: (task) => (task.phase && task.phase.order !== null ? [task.phase.project, task.phase.order, task.phase.key] : null),
  };

  /* The tasks by a field (`-field`: last first); those without a value come at the end of either order. */
  function sort(tasks, by, table) {
    const field = by.replace(/^-/, ""), back = by.startsWith("-") ? -1 : 1;
    if (!Object.hasOwn(SORTS, field)) throw new QueryError(`tasks cannot be sorted by ${repr(by)}`, `there is: ${Object.keys(SORTS).join(", ")}`);
    const ordered = [...tasks].sort((one, other) => compare(one.id, other.id));
    if (field === "id") return back < 0 ? ordered.reverse() : ordered;
    const keys = ordered.map((task) => [SORTS[field](task, table), task]), known = keys.filter(([key]) => key !== null);
    const least = known.every(([key]) => isPlain(key)) ? compareUnits : compare;
    known.sort(([one], [other]) => back * least(one, other));
    return [...known, ...keys.filter(([key]) => key === null)].map(([, task]) => task);
  }

  /* Where no character takes two units, JavaScript's own order is Python's, and many times as fast. */
  const isPlain = (key) => typeof key === "string" && !/[\ud800-\udfff]/.test(key);
  const compareUnits = (one, other) => (one < other ? -1 : one > other ? 1 : 0);

  function compare(one, other) {
    if (Array.isArray(one)) return one.map((part, n) => compare(part, other[n])).find((result) => result) || 0;
    if (typeof one === "number") return one - other;
    return one === other ? 0 : comparePoints(one, other);
  }

  /* By code points, as in Python. */
  function comparePoints(one, other) {
    let n = 0;
    while (n < one.length && n < other.length && one[n] === other[n]) n += 1;
    if (n === one.length || n === other.length) return one.length - other.length;
    const rank = (unit) => (unit >= 0xe000 ? unit - 0x800 : unit >= 0xd800 ? unit + 0x2000 : unit);
    return rank(one.charCodeAt(n)) - rank(other.charCodeAt(n));
  }

  // -- texts as Python has them ---------------------------------------------------------------------------------------

  /* Python's `casefold`, but for characters that came into Unicode later than that Python. */
  function fold(text) {
    if (/^[\x00-\x7f]*$/.test(text)) return text.toLowerCase();
    return Array.from(text, foldOne).join("");
  }

  function foldOne(letter) {
    if (letter === "\u0131") return letter;
    if (/[\u13a0-\u13ff\uab70-\uabbf]/.test(letter)) return letter.toUpperCase();
    return letter.toLowerCase().toUpperCase().toLowerCase();
  }

  /* The text in quotes, as errors show it. */
  function repr(text) {
    const mark = text.includes("'") && !text.includes('"') ? '"' : "'";
    return mark + text.replace(/[\\'\p{C}\p{Z}]/gu, (letter) => escapeLetter(letter, mark)) + mark;
  }

  function escapeLetter(letter, mark) {
    if (letter === " " || (letter === "'" && mark === '"')) return letter;
    if ("\\'".includes(letter)) return `\\${letter}`;
    const short = { "\n": "\\n", "\r": "\\r", "\t": "\\t" }[letter], code = letter.codePointAt(0);
    if (short) return short;
    const [kind, width] = code > 0xffff ? ["U", 8] : code > 0xff ? ["u", 4] : ["x", 2];
    return `\\${kind}${code.toString(16).padStart(width, "0")}`;
  }

  // -- near names: the hint of an error (model/names.py, and Python's difflib) ------------------------------------------

  function chooseFrom(name, known) {
    const names = [...new Set(known)].sort(compare);
    if (names.length <= 20) return names.length ? `there is: ${names.join(", ")}` : "there is none yet";
    const near = nearNames(name, names);
    return near.length ? `near: ${near.join(", ")}` : "";
  }

  function nearNames(name, names) {
    const letters = Array.from(name), places = findPlaces(letters);
    return names.map((other) => [ratio(Array.from(other), letters, places), other]).filter(([score]) => score >= 0.6)
      .sort((one, other) => compare(other, one)).slice(0, 3).map(([, other]) => other);
  }

  /* Where each letter stands; in long texts frequent ones are not looked at. */
  function findPlaces(letters) {
    const places = new Map();
    letters.forEach((letter, n) => places.set(letter, [...(places.get(letter) || []), n]));
    const most = letters.length >= 200 ? Math.floor(letters.length / 100) + 1 : Infinity;
    return new Map([...places].filter(([, found]) => found.length <= most));
  }

  function ratio(one, other, places) {
    const total = one.length + other.length;
    if (!total) return 1;
    if (2 * Math.min(one.length, other.length) / total < 0.6) return 0;
    return 2 * countMatches(one, other, places, [0, one.length, 0, other.length]) / total;
  }

  function countMatches(one, other, places, [low, high, from, to]) {
    const [start, place, size] = longestMatch(one, other, places, [low, high, from, to]);
    if (!size) return 0;
    return size + countMatches(one, other, places, [low, start, from, place])
      + countMatches(one, other, places, [start + size, high, place + size, to]);
  }

  function longestMatch(one, other, places, [low, high, from, to]) {
    let [start, place, size] = [low, from, 0], lengths = new Map();
    for (let n = low; n < high; n += 1) {
      const next = new Map();
      for (const m of places.get(one[n]) || []) {
        if (m < from) continue;
        if (m >= to) break;
        const length = (lengths.get(m - 1) || 0) + 1;
        next.set(m, length);
        if (length > size) [start, place, size] = [n - length + 1, m - length + 1, length];
      }
      lengths = next;
    }
    while (start > low && place > from && one[start - 1] === other[place - 1]) { start -= 1; place -= 1; size += 1; }
    while (start + size < high && place + size < to && one[start + size] === other[place + size]) size += 1;
    return [start, place, size];
  }

  /* What `dagtasks task list QUERY --sort BY` lists on that day: tasks, and files that cannot be read. Throws `QueryError`. */
  function select(table, text, by, today) {
    const { tests, wantsBroken } = parse(text, table, today);
    const found = table.tasks.filter((task) => tests.every((test) => test(task)));
    return { tasks: sort(found, by, table), broken: wantsBroken ? table.broken : [] };
  }

  window.dagtasksQuery = { readTable, parse, sort, select, splitWords, splitValues, quote, compare, fold, isOpen, isReady, isOverdue, QueryError };
})();
