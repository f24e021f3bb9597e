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
  }
  if (window.document$ && window.document$.subscribe) window.document$.subscribe(show);
  else if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", show);
  else show();
})();
