/* Keyboard, row by row, and small comforts. Everything works without this script, too. */
"use strict";
(() => {
  const typing = (node) => node && (node.matches("input:not([type=radio]):not([type=checkbox]), textarea, select") || node.isContentEditable);
  const all = (what, from = document) => [...from.querySelectorAll(what)];
  const help = document.getElementById("help");
  const rows = all("[data-rows] .row");
  const drivers = all("[data-driver]");
  let at = -1, leader = 0;

  const opens = { q: "queue", c: "customers", p: "portfolio", s: "scoreboard", m: "metrics", n: "pain", i: "misses" };
  const show = (i) => {
    const list = drivers.length ? drivers : rows;
    if (!list.length) return;
    at = Math.max(0, Math.min(list.length - 1, i));
    rows.forEach((row, n) => row.classList.toggle("at", n === at));
    if (drivers.length) list[at].focus();
    else list[at].querySelector("a.open").focus({ preventScroll: true });
    list[at].scrollIntoView({ block: "nearest" });
  };

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || (help && help.open)) return;
    if (event.key === "Escape") {
      all("details.me[open]").forEach((menu) => { menu.open = false; menu.querySelector("summary").focus(); });
      if (typing(document.activeElement)) document.activeElement.blur();
      return;
    }
    if (typing(document.activeElement)) return;
    const key = event.key;
    if (Date.now() - leader < 1500 && opens[key]) {
      const link = document.querySelector(`[data-go="${opens[key]}"]`);
      leader = 0;
      if (link) { event.preventDefault(); link.click(); }
      return;
    }
    if (key === "g") { leader = Date.now(); return; }
    if (key === "/") { event.preventDefault(); const seek = document.getElementById("seek"); if (seek) { seek.focus(); seek.select(); } }
    else if (key === "?") { event.preventDefault(); if (help) help.showModal(); }
    else if (key === "j") { event.preventDefault(); show(at + 1); }
    else if (key === "k") { event.preventDefault(); show(at - 1); }
    else if ("1234".includes(key)) {
      const driver = document.activeElement && document.activeElement.closest("[data-driver]");
      const button = driver && all(".choices button", driver)[Number(key) - 1];
      if (button) { event.preventDefault(); button.click(); }
    }
  });

  all("[data-do=help]").forEach((button) => { button.hidden = false; button.addEventListener("click", () => help.showModal()); });
  all("[data-chips]").forEach((chips) => {
    chips.hidden = false;
    const choose = (kinds) => {
      all("button", chips).forEach((b) => b.setAttribute("aria-pressed", String(kinds.includes(b.dataset.kind))));
      all(".timeline .event").forEach((e) => { e.hidden = !kinds.includes("") && !kinds.includes(e.dataset.kind); });
    };
    chips.addEventListener("click", (event) => { if (event.target.dataset.kind !== undefined) choose([event.target.dataset.kind]); });
    const rowsOf = { effort: ["contact"], survey: ["survey"], commercial: ["payment", "contract"] };
    all("[data-evidence]").forEach((link) => link.addEventListener("click", () => choose(rowsOf[link.dataset.evidence] || [""])));
  });
  /* a form that was typed into is not left by accident */
  let typed = false;
  all("form.fields, form.verdict").forEach((form) => {
    form.addEventListener("input", () => { typed = true; });
    form.addEventListener("submit", () => { typed = false; });
  });
  addEventListener("beforeunload", (event) => { if (typed) event.preventDefault(); });
  const focus = document.querySelector("[data-focus]");
  if (focus) { focus.focus(); focus.scrollIntoView({ block: "center" }); }
  else if (location.hash && document.querySelector(location.hash + "[data-driver]")) document.querySelector(location.hash).focus({ preventScroll: true });
})();
