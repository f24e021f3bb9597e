/* What only the reader's clock can say: how long ago something was, and what is overdue today. */
(function () {
  "use strict";
  var units = [["year", 31536000], ["month", 2592000], ["week", 604800], ["day", 86400], ["hour", 3600], ["minute", 60]];
  function ago(then) {
    var seconds = (then - Date.now()) / 1000;
    var unit = units.find(function (each) { return Math.abs(seconds) >= each[1]; });
    var words = new Intl.RelativeTimeFormat(document.documentElement.lang || "en", { numeric: "auto" });
    return unit ? words.format(Math.round(seconds / unit[1]), unit[0]) : words.format(0, "minute");
  }
  function show() {
    document.querySelectorAll(".dt time[datetime]").forEach(function (time) {
      var then = Date.parse(time.dateTime);
      if (isNaN(then) || time.dateTime.length < 11) return;
      if (!time.title) time.title = time.textContent;
      time.textContent = ago(then);
    });
    var now = new Date(), two = function (n) { return String(n).padStart(2, "0"); };
    var today = now.getFullYear() + "-" + two(now.getMonth() + 1) + "-" + two(now.getDate());
    document.querySelectorAll(".dt [data-due]").forEach(function (mark) {
      mark.classList.toggle("dt-is-overdue", mark.dataset.due < today);
    });
    document.querySelectorAll("[data-scripts]").forEach(load);
  }
  /* The board's page brings all tasks and what filters them; the rest of the site does without. In this order. */
  function load(tools) {
    tools.dataset.scripts.trim().split(" ").forEach(function (uri) {
      var script = document.createElement("script");
      script.src = uri;
      script.async = false;
      document.head.append(script);
    });
    tools.removeAttribute("data-scripts");
  }
  if (window.document$ && window.document$.subscribe) window.document$.subscribe(show);
  else if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", show);
  else show();
})();

/* Commands and texts get a button that copies them, and each reader of a page an id of their own for a new task. */
(function () {
  "use strict";
  function addButton(source) {
    var button = document.createElement("button"), name = "Copy " + source.textContent.slice(0, 60);
    function say(word, label) {
      button.textContent = word;
      button.setAttribute("aria-label", label);
    }
    button.type = "button";
    button.className = "dt-copy";
    button.addEventListener("click", function () {
      navigator.clipboard.writeText(source.textContent).then(function () {
        say("Copied", "Copied");
        setTimeout(say, 2000, "Copy", name);
      }, function () { say("Not allowed", "The browser does not allow it"); });
    });
    say("Copy", name);
    source.after(button);
  }
  function makeId(old) {
    var letters = "0123456789abcdefghjkmnpqrstvwxyz";
    var drawn = Array.from(crypto.getRandomValues(new Uint8Array(6)), function (n) { return letters[n % 32]; });
    return old.slice(0, -6) + drawn.join("");
  }
  function show() {
    if (navigator.clipboard) document.querySelectorAll(".dt-command code:only-child, .dt-text pre:only-child").forEach(addButton);
    var ids = {};
    document.querySelectorAll(".dt [data-new]").forEach(function (each) {
      var old = each.dataset.new, made = ids[old] = ids[old] || makeId(old);
      if (each.href) each.href = each.href.split(old).join(made);
      else each.textContent = each.textContent.split(old).join(made);
      each.dataset.new = made;
    });
  }
  if (window.document$ && window.document$.subscribe) window.document$.subscribe(show);
  else if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", show);
  else show();
})();
