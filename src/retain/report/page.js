"use strict";
// The list and the sections of the weekly page, from the data in the page. Builds the same markup as
// customer.html (a test compares them); every text enters as text, never as markup.
(() => {
  const D = JSON.parse(document.getElementById("page-data").textContent);
  const W = D.words, HAS = D.has, SVG = "http://www.w3.org/2000/svg";
  const MONTHS = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split(" ");

  // ---- data: arrays to records -------------------------------------------------------------
  const said = (s) => (typeof s === "number" ? D.sentences[s] : s);
  const all = D.rows.map((row, place) => {
    const c = { place };
    D.fields.forEach((name, i) => { c[name] = row[i]; });
    for (const name of ["segment", "plan", "owner", "band"]) {
      c[name + "_at"] = c[name];
      c[name] = D.lists[name][c[name]];
    }
    c.drivers = c.drivers.map(([theme, points, before, act, stability, sentence]) =>
      ({ theme: D.themes[theme], points, before, act, stability, sentence: said(sentence) }));
    c.value_drivers = c.value_drivers.map(([theme, amount, sentence]) =>
      ({ theme: D.themes[theme], amount, sentence: said(sentence) }));
    c.raising = c.drivers.filter((d) => d.points === null || d.points >= 0);
    c.lowering = c.drivers.filter((d) => d.points !== null && d.points < 0);
    const first = c.raising.length ? c.raising[0].stability : null;
    c.unstable = first !== null && first < D.unstable;
    c.slug = encodeURIComponent(c.id).replace(/[!'()*]/g, (x) => "%" + x.charCodeAt(0).toString(16).toUpperCase());
    return c;
  });
  const bySlug = new Map(all.map((c) => ["customer-" + c.slug, c.place]));
  const weeksOf = (text) => text.split(",").map((x) => (x === "" ? null : Number(x)));

  // ---- numbers to words (as wording.py) ------------------------------------------------------
  const number = (v) => {
    if (v === null) return "–";
    const digits = Math.abs(v) >= 100 || Number.isInteger(v) ? 0 : 2;
    return v.toLocaleString("en-US", { minimumFractionDigits: digits, maximumFractionDigits: digits }).replace("-", "−");
  };
  const percent = (p) => (p === null ? "–" : (p / 10).toFixed(1).replace("-", "−") + "%");
  const chance = (p) => (p === null ? "–" : p <= 0 ? "<0.1%" : p >= 1000 ? ">99.9%" : percent(p));
  const points = (p) => (p === null ? "–" : (p > 0 ? "+" : p < 0 ? "−" : "") + (Math.abs(p) / 10).toFixed(1) + " pts");
  const money = (v, signed) => {
    if (v === null) return "–";
    return (v < 0 ? "−" : signed && v > 0 ? "+" : "") + (D.currency ? D.currency + "\u00a0" : "") + number(Math.abs(v));
  };
  const word = (v, table) => { for (const [end, text] of table) if (v < end) return text; return table[table.length - 1][1]; };
  const dateIn = (days) => {
    const d = new Date(Date.parse(D.as_of) + days * 864e5);
    return d.getUTCDate() + " " + MONTHS[d.getUTCMonth()] + " " + d.getUTCFullYear();
  };
  const inDays = (days) => days === 0 ? "today" : days === 1 ? "tomorrow"
    : days > 1 ? "in " + days.toLocaleString("en-US") + " days" : (-days).toLocaleString("en-US") + " d ago";
  const barAt = (p) => Math.min(1000, Math.floor((p / D.bar_top) * 1000 + 0.5));

  // ---- markup -----------------------------------------------------------------------------
  const fill = (node, attributes, children) => {
    for (const [name, value] of Object.entries(attributes)) if (value !== null) node.setAttribute(name, value);
    for (const child of children.flat(3)) if (child !== null && child !== "") node.append(child);
    return node;
  };
  const h = (tag, attributes = {}, ...children) => fill(document.createElement(tag), attributes, children);
  const s = (tag, attributes = {}, ...children) => fill(document.createElementNS(SVG, tag), attributes, children);
  const between = (low, high, show) =>
    low === null || high === null ? null : h("span", { class: "between" }, show(low) + " – " + show(high));
  const theme = (name) => (name ? h("span", { class: "theme " + name }, name) : null);

  const chanceBar = (c) => s("svg", { class: "risk", viewBox: "0 0 1000 80", preserveAspectRatio: "none", "aria-hidden": "true" },
    s("rect", { class: "track", x: 0, y: 30, width: 1000, height: 20 }),
    c.low === null || c.high === null ? null
      : s("rect", { class: "span", x: barAt(c.low), y: 10, width: barAt(c.high) - barAt(c.low), height: 60 }),
    s("rect", { class: "fill", x: 0, y: 30, width: barAt(c.p), height: 20 }),
    s("rect", { class: "mark", x: Math.max(barAt(c.p) - 6, 0), y: 0, width: 12, height: 80 }));

  const trend = (change, wasScored) => {
    if (change === null) return h("span", { class: "trend none" }, wasScored ? W.not_scored : W.new);
    const [kind, mark, text] = change > 0 ? ["up", "▲", points(change)] : change < 0 ? ["down", "▼", points(change)] : ["flat", "●", W.unchanged];
    return h("span", { class: "trend " + kind }, h("span", { "aria-hidden": "true" }, mark), " " + text);
  };

  const reasons = (c) => {
    if (c.unstable) return [h("p", { class: "unsure" }, W.unstable), h("p", { class: "reason faint" }, h("bdi", {}, c.raising[0].sentence))];
    if (!c.raising.length) return h("p", { class: "unsure" }, W.no_reason);
    const said = [...new Set(c.raising.map((d) => d.sentence))];
    return said.slice(0, 2).map((text) => h("p", { class: "reason" }, h("bdi", {}, text)));
  };

  const rowOf = (c) => {
    const about = [c.segment, c.plan, c.owner].filter(Boolean);
    return h("tr", { class: "row" },
      h("td", { class: "rank", "data-label": "Rank" }, String(c.place + 1)),
      h("th", { class: "who", scope: "row" },
        h("a", { class: "open", href: "#customer-" + c.slug }, h("bdi", {}, c.id)),
        about.length ? h("span", { class: "about" }, about.map((text) => h("bdi", {}, text))) : null),
      h("td", { class: "risk-cell", "data-label": "Leaves within " + D.horizon + " weeks" },
        h("span", { class: "big" }, chance(c.p)), h("span", { class: "band " + c.band }, W.bands[c.band] || c.band),
        chanceBar(c), between(c.low, c.high, percent)),
      HAS.change ? h("td", { class: "num", "data-label": "Since last week" }, trend(c.change, c.was_scored)) : null,
      HAS.value ? [h("td", { class: "num", "data-label": "Value at risk" }, h("span", { class: "big" }, number(c.at_risk))),
        h("td", { class: "num", "data-label": "CLV" }, h("span", {}, number(c.clv)), between(c.clv_low, c.clv_high, number))] : null,
      HAS.mrr ? h("td", { class: "num", "data-label": "MRR" }, number(c.mrr)) : null,
      HAS.renewal ? h("td", { class: "when", "data-label": "Renews" }, c.renews_in === null ? "–"
        : [h("span", {}, dateIn(c.renews_in)), h("span", { class: "between" }, inDays(c.renews_in))]) : null,
      h("td", { class: "why-cell", "data-label": "Associated with" }, reasons(c)));
  };

  // ---- one customer's section ----------------------------------------------------------------
  const stepsOf = (c) => {
    const listed = [...c.raising, ...c.lowering];
    const others = c.p - (D.base === null ? 0 : D.base) - listed.reduce((sum, d) => sum + (d.points || 0), 0);
    const lines = [];
    if (D.base !== null) lines.push(["base", "", W.base, D.base, []]);
    for (const d of listed) {
      const notes = [];
      if (d.act) notes.push(["act", W.act]);
      if (d.stability !== null) notes.push([d.stability < 50 ? "unsure" : "sure", word(d.stability, D.steady)]);
      if (d.before !== null) notes.push(["was", W.was + " " + points(d.before)]);
      lines.push([d.points === null ? "said" : d.points >= 0 ? "up" : "down", d.points === null ? "" : d.theme, d.sentence, d.points, notes]);
    }
    if (D.base === null) lines.push(["base", "", W.no_base, others, []]);
    else lines.push([others >= 0 ? "rest up" : "rest down", "", W.others, others, []]);
    const ends = [0, c.p];
    let at = 0;
    for (const line of lines) ends.push((at += line[3] || 0));
    const low = Math.min(...ends), high = Math.max(...ends, 1);
    const place = (v) => Math.floor(((v - low) / (high - low)) * 1000 + 0.5);
    at = 0;
    const steps = lines.map(([kind, name, text, size, notes]) => {
      const start = at;
      at += size || 0;
      const x = place(Math.min(start, at));
      return { kind, theme: name, text, notes, x, width: size === null ? 0 : Math.max(place(Math.max(start, at)) - x, 4),
        size: size === null ? "" : kind === "base" ? percent(size) : points(size) };
    });
    steps.push({ kind: "total", theme: "", text: W.total, notes: [], x: place(0), width: Math.max(place(c.p) - place(0), 4), size: chance(c.p) });
    return steps.map((t) => h("li", { class: "step " + t.kind },
      h("div", { class: "say" }, theme(t.theme), h("bdi", {}, t.text),
        t.notes.length ? h("span", { class: "notes" }, t.notes.map(([kind, text]) => h("span", { class: kind }, text))) : null),
      s("svg", { class: "fall", viewBox: "0 0 1000 100", preserveAspectRatio: "none", "aria-hidden": "true" },
        s("rect", { class: "zero", x: place(0), y: 0, width: 4, height: 100 }),
        s("rect", { class: "bar", x: t.x, y: 25, width: t.width, height: 50 })),
      h("span", { class: "size" }, t.size)));
  };

  const factsOf = (c) => {
    const facts = [];
    if (c.low !== null && c.high !== null) facts.push(D.interval + "% interval " + percent(c.low) + " – " + percent(c.high));
    if (c.by.length > 1) facts.push("gone within " + c.by.map(([weeks, share]) => weeks + " weeks " + percent(share)).join(" · "));
    if (c.above !== null) facts.push("higher than " + c.above + "% of eligible customers");
    if (c.health !== null) facts.push("health score " + number(c.health));
    if (c.coverage !== null) facts.push(c.coverage + "% of the signals known");
    if (c.freshness !== null) facts.push(c.freshness <= 0 ? "data up to this week"
      : "newest data " + c.freshness + (c.freshness === 1 ? " day" : " days") + " old");
    return facts;
  };

  const movedOf = (c) => {
    const parts = [["from", W.last_week, chance(c.before)]];
    if (c.change_behaviour === null) parts.push(["part", W.not_split, points(c.change)]);
    else for (const name of ["behaviour", "data", "model"]) {
      const size = c["change_" + name];
      parts.push([size ? "part" : "part nil", W[name], points(size)]);
    }
    const rounding = c.p - c.before - c.change;
    if (rounding) parts.push(["part", W.rounding, points(rounding)]);
    parts.push(["to", W.this_week, chance(c.p)]);
    return parts.map(([kind, label, text]) => h("span", { class: kind }, label + " ", h("b", {}, text)));
  };

  const worthOf = (c) => {
    const lines = c.value_drivers.map((d) => [d.amount >= 0 ? "up" : "down", d.theme, d.sentence, money(d.amount, true)]);
    const rest = c.clv - c.value_drivers.reduce((sum, d) => sum + d.amount, 0);
    if (lines.length) lines.push(["rest", "", W.worth_rest, money(Math.round(rest * 100) / 100, true)]);
    lines.push(["total", "", W.worth_total, money(c.clv)]);
    return lines.map(([kind, name, text, amount]) =>
      h("li", { class: kind }, h("span", {}, theme(name), h("bdi", {}, text)), h("b", {}, amount)));
  };

  const ago = (n) => (n === 0 ? "this week" : n === 1 ? "1 week ago" : n + " weeks ago");
  const sparkOf = (kind, title, weeks, most) => {   // as sparks.py
    const known = weeks.filter((v) => v !== null);
    const highest = known.length ? Math.max(...known) : 0, top = most === null ? highest : Math.max(most, highest);
    const height = (v) => Math.max(top > 0 ? Math.floor((Math.max(v, 0) / top) * 48 + 0.5) : 0, v > 0 ? 1 : 0);
    const runs = [];
    weeks.forEach((v, i) => {
      if (v === null) return;
      if (runs.length && runs[runs.length - 1][1] === i) runs[runs.length - 1][1] = i + 1;
      else runs.push([i, i + 1]);
    });
    let shape = "";
    if (kind === "level") {
      for (const [a, b] of runs) {
        shape += "M" + a * 4 + " " + (54 - height(weeks[a]));
        for (let i = a; i < b; i++) shape += "V" + (54 - height(weeks[i])) + "h4";
      }
    } else weeks.forEach((v, i) => {
      if (kind === "bars" && v > 0) shape += "M" + (i * 4 + 2) + " 54v-" + height(v);
      if (kind === "dots" && v !== null) shape += "M" + (i * 4 + 2) + " " + (54 - height(v)) + "h0";
    });
    const spans = kind === "dots" && runs.length ? [[0, weeks.length]] : runs;
    const ground = spans.map(([a, b]) => "M" + a * 4 + " 55h" + (b - a) * 4).join("");
    const late = known.length ? weeks.length - runs[runs.length - 1][1] : 0;
    const last = known.length ? number(known[known.length - 1]) : "–";
    const when = known.length ? ago(late) : "nothing known";
    const says = title + ", last 52 weeks: " + last + " (" + when + "), highest " + number(highest);
    return h("figure", { class: "spark " + kind, tabindex: "-1" },
      h("figcaption", {}, h("span", { class: "name" }, title), h("span", { class: "last" }, h("b", {}, last), " " + when)),
      known.length ? [s("svg", { viewBox: "0 0 208 58", role: "img", "aria-label": says },
        s("path", { class: "ground", d: ground }), s("path", { class: "shape", d: shape })),
      h("div", { class: "axis", "aria-hidden": "true" }, h("span", {}, "52 weeks ago"), h("span", {}, "top " + number(top)), h("span", {}, "now"))] : null);
  };

  const sectionOf = (c) => h("article", { class: "dossier", "aria-label": c.id },
    h("div", { class: "answer" },
      h("p", { class: "chance" }, h("b", {}, chance(c.p)), " " + W.leaves + ": " + word(c.p, D.odds)),
      h("p", { class: "notes" }, factsOf(c).map((text) => h("span", {}, text)))),
    h("section", { class: "why" }, h("h4", {}, W.why), c.unstable ? h("p", { class: "callout" }, W.unstable_long) : null,
      h("ol", { class: "steps" }, stepsOf(c))),
    h("div", { class: "aside" },
      c.before === null ? null : h("section", { class: "moved" }, h("h4", {}, W.moved), h("p", { class: "sum" }, movedOf(c))),
      h("section", { class: "charts" }, h("h4", {}, W.charts), Object.keys(c.weeks).length
        ? h("div", { class: "sparks" }, D.series.map(([name, kind, title, top]) => sparkOf(kind, title, weeksOf(c.weeks[name]), top)))
        : h("p", { class: "quiet" }, c.full ? W.no_weeks : W.brief)),
      c.clv === null ? null : h("section", { class: "worth" }, h("h4", {}, W.worth), h("ul", { class: "sums" }, worthOf(c)))));

  const bodyOf = (c) => h("tbody", { class: "customer " + c.band, id: "customer-" + c.slug, "data-i": c.place },
    rowOf(c), h("tr", { class: "detail" }, h("td", { colspan: D.columns })));
  const whole = (c) => { const body = bodyOf(c); body.rows[1].cells[0].append(sectionOf(c)); return body; };

  // ---- the list: filter, sort, show more, open -------------------------------------------------
  const table = document.querySelector("table.list"), form = document.querySelector("form.tools");
  document.documentElement.classList.add("scripted");
  window.retainPage = { customers: all, build: (i) => whole(all[i]) };   // for tests and the curious
  if (!table) return;
  form.hidden = false;

  const bodies = new Map();
  for (const body of table.tBodies) bodies.set(Number(body.dataset.i), body);
  const bodyAt = (i) => { if (!bodies.has(i)) bodies.set(i, prepare(bodyOf(all[i]))); return bodies.get(i); };
  const prepare = (body) => {
    const i = Number(body.dataset.i), link = body.querySelector("a.open");
    body.rows[1].hidden = true;
    body.rows[1].id = "detail-" + i;
    link.setAttribute("aria-expanded", "false");
    link.setAttribute("aria-controls", "detail-" + i);
    body.rows[0].addEventListener("click", (event) => {
      if (event.target.closest("a.open")) event.preventDefault();
      else if (String(window.getSelection())) return;
      toggle(i);
    });
    return body;
  };
  const isOpen = (i) => bodies.has(i) && !bodies.get(i).rows[1].hidden;
  const toggle = (i, open = !isOpen(i)) => {
    const body = bodyAt(i), cell = body.rows[1].cells[0];
    if (open && !cell.firstChild) cell.append(sectionOf(all[i]));
    body.rows[1].hidden = !open;
    body.classList.toggle("opened", open);
    body.querySelector("a.open").setAttribute("aria-expanded", String(open));
    try { history.replaceState(null, "", open ? "#" + body.id : "#list"); } catch { /* some viewers forbid it */ }
  };
  for (const body of bodies.values()) prepare(body);

  let key = D.by, down = true, shown = D.first, view = [];
  const matches = (c, wanted) => {
    if (wanted.rose && !c.rose) return false;
    for (const name of ["segment", "plan", "owner", "band"]) if (wanted[name] && c[name + "_at"] !== Number(wanted[name])) return false;
    if (!wanted.find) return true;
    c.text = c.text || [c.id, c.segment, c.plan, c.owner, ...c.drivers.map((d) => d.sentence)].join("\n").toLowerCase();
    return wanted.find.split(/\s+/).every((part) => c.text.includes(part));
  };
  const compare = (a, b) => {
    const x = a[key], y = b[key];
    if (x === null || y === null) return (x === null) - (y === null) || a.place - b.place;   // nothing known: last
    const order = typeof x === "string" ? x.localeCompare(y, "en", { numeric: true }) : x - y;
    return (down ? -order : order) || a.place - b.place;
  };
  const heads = [...table.tHead.rows[0].cells];
  const more = document.querySelector('[data-do="more"]'), every = document.querySelector('[data-do="all"]');
  const show = () => {
    const wanted = Object.fromEntries(["find", "segment", "plan", "owner", "band"].map((name) =>
      [name, form.elements[name] ? form.elements[name].value.trim().toLowerCase() : ""]));
    wanted.rose = Boolean(form.elements.rose && form.elements.rose.checked);
    view = all.filter((c) => matches(c, wanted)).sort(compare);
    const nodes = view.slice(0, shown).map((c) => bodyAt(c.place));
    for (const body of [...table.tBodies]) body.remove();
    table.append(...nodes);
    const counted = "Showing " + number(nodes.length) + " of " + number(view.length)
      + (view.length < all.length ? " that match (" + number(all.length) + " in all)" : " customers");
    for (const out of document.querySelectorAll(".count")) out.textContent = counted;
    document.querySelector(".empty").hidden = view.length > 0;
    more.hidden = every.hidden = view.length <= shown;
    more.textContent = "Show " + Math.min(100, view.length - shown) + " more";
    every.textContent = "Show all " + number(view.length);
    for (const head of heads) {
      if (head.dataset.sort === key) head.setAttribute("aria-sort", down ? "descending" : "ascending");
      else head.removeAttribute("aria-sort");
    }
    form.elements.sort.value = key;
  };
  const sortBy = (name) => {
    down = name === key ? !down : !["id", "renews_in"].includes(name);
    key = name;
    show();
  };
  for (const head of heads.filter((cell) => cell.dataset.sort)) {
    const button = h("button", { type: "button", class: "sort" });
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => sortBy(head.dataset.sort));
  }
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("input", (event) => {
    if (event.target.name === "sort") { down = !["id", "renews_in"].includes(event.target.value); key = event.target.value; }
    shown = D.first;
    show();
  });
  form.addEventListener("reset", () => setTimeout(() => { key = D.by; down = true; shown = D.first; show(); }));
  document.querySelector('[data-do="clear"]').addEventListener("click", () => form.reset());
  more.addEventListener("click", () => { shown += 100; show(); });
  every.addEventListener("click", () => { shown = view.length; show(); });

  const arrive = () => {
    const i = bySlug.get(location.hash.slice(1)) ?? all.find((c) => {
      try { return "customer-" + c.id === decodeURIComponent(location.hash.slice(1)); } catch { return false; }
    })?.place;
    if (i === undefined) return;
    if (!view.includes(all[i])) { form.reset(); key = D.by; down = true; show(); }
    const at = view.indexOf(all[i]);
    if (at >= shown) { shown = at + 1; show(); }
    toggle(i, true);
    bodyAt(i).scrollIntoView({ block: "start" });
    bodyAt(i).querySelector("a.open").focus({ preventScroll: true });
  };
  window.addEventListener("hashchange", arrive);

  // the value of the week under the pointer
  table.addEventListener("pointermove", (event) => {
    const svg = event.target.closest && event.target.closest(".spark svg");
    if (!svg) return;
    const figure = svg.closest("figure"), i = Number(figure.closest("tbody").dataset.i);
    const [name] = D.series[[...figure.parentNode.children].indexOf(figure)], box = svg.getBoundingClientRect();
    const week = Math.max(0, Math.min(51, Math.floor(((event.clientX - box.left) / box.width) * 52)));
    const value = weeksOf(all[i].weeks[name])[week], last = figure.querySelector(".last");
    if (!last.dataset.rest) last.dataset.rest = last.textContent;
    last.replaceChildren(h("b", {}, number(value)), " " + (value === null ? "nothing known, " : "") + ago(51 - week));
    svg.addEventListener("pointerleave", () => {
      const [b, ...rest] = last.dataset.rest.split(" ");
      last.replaceChildren(h("b", {}, b), " " + rest.join(" "));
    }, { once: true });
  });

  show();
  arrive();
})();
