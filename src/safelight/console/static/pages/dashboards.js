// A dashboard: the panels that Grafana shows, with the same queries.

import { CHARTS, TIMED, colourOf, draw } from "../charts.js";
import { element, fetchJson } from "../dom.js";
import { format, moment } from "../units.js";
import { t, told } from "../words.js";

const RANGES = [["900", t("15 minutes")], ["1800", t("30 minutes")], ["3600", t("1 hour")], ["10800", t("3 hours")], ["21600", t("6 hours")], ["43200", t("12 hours")], ["86400", t("1 day")], ["172800", t("2 days")], ["604800", t("7 days")], ["2592000", t("30 days")]];
const REFRESHES = [["0", t("Off")], ["5", "5 s"], ["10", "10 s"], ["60", "1 min"], ["300", "5 min"]];
const SECONDS = { s: 1, m: 60, h: 3600, d: 86400 };
const AT_ONCE = 6;
const MOST_LEGENDS = 12;
const MOST_LINKS = 3;

const secondsOf = (text) => Number(text.match(/\d+/)[0]) * SECONDS[text.at(-1)];

/** Show the dashboard of the current address; return the function that leaves it. */
export function show(page, context) {
  const uid = location.pathname.split("/")[2];
  const board = context.start.boards.find((each) => each.uid === uid);
  if (!board) {
    page.replaceChildren(element("h1", {}, t("There is no such dashboard")), element("a", { href: "/dashboards" }, t("Go to Live")));
    return undefined;
  }
  document.title = `${told(board.name)} · Safelight`;
  return new BoardView(page, board, context).leave;
}

class BoardView {
  constructor(page, board, { start, open }) {
    this.board = board;
    this.start = start;
    this.open = open;
    this.chosen = Object.fromEntries(new URLSearchParams(location.search));
    this.views = [];
    this.waiting = [];
    this.running = 0;
    this.ended = new AbortController();
    this.leave = () => this.end();
    page.replaceChildren(this.head(), ...board.rows.map((row) => this.row(row)));
    this.watch();
  }

  // ── What the viewer chose; the address has all of it ───────────────────────────────────────────

  get seconds() {
    return Number(this.chosen.seconds ?? secondsOf(this.board.begin));
  }

  get refresh() {
    return Number(this.chosen.refresh ?? secondsOf(this.board.refresh));
  }

  choose(changes) {
    const values = { ...this.chosen, ...changes };
    const kept = Object.entries(values).filter(([, value]) => value !== "" && value !== undefined);
    this.open(`${location.pathname}?${new URLSearchParams(kept)}`);
  }

  addressOf(uid) {
    return `/dashboards/${uid}${location.search}`;
  }

  // ── The head ───────────────────────────────────────────────────────────────────────────────────

  head() {
    const ends = "end" in this.chosen;
    const onward = this.board.onward.map((uid) => this.start.boards.find((each) => each.uid === uid)).filter(Boolean);
    this.clock = element("span", { class: "faint clock" });
    this.services = element("span", { class: "choices" });
    this.fillServices();
    return element("div", { class: "board-head" },
      element("div", { class: "head" }, element("h1", {}, told(this.board.name)), this.clock),
      element("p", { class: "question" }, told(this.board.question)),
      element("div", { class: "choices" }, this.services,
        this.select(t("Time range"), "seconds", ends ? [["", this.chosenRange()], ...RANGES] : RANGES, ends ? "" : String(this.seconds), (value) => ({ seconds: value, end: undefined })),
        this.select(t("Refresh"), "refresh", REFRESHES, ends ? "0" : String(this.refresh)),
        element("button", { type: "button", onclick: () => this.zoomOut() }, t("Zoom out")),
        ends ? element("button", { type: "button", onclick: () => this.choose({ end: undefined, seconds: undefined }) }, t("Back to now")) : null),
      element("p", { class: "faint" }, t("Look next at"), " ", onward.flatMap((other, place) => [place ? ", " : "", element("a", { href: this.addressOf(other.uid) }, told(other.name))]), this.grafana()));
  }

  /** Return a link to the same dashboard in Grafana, if there is one. */
  grafana() {
    const { grafana } = this.start;
    if (!grafana) return null;
    const range = "end" in this.chosen ? { from: 1000 * (Number(this.chosen.end) - this.seconds), to: 1000 * Number(this.chosen.end) } : { from: `now-${this.seconds}s`, to: "now" };
    return [" ", element("a", { href: `${grafana}/d/${this.board.uid}?${new URLSearchParams(range)}`, target: "_blank", rel: "noopener noreferrer" }, t("Open in Grafana"))];
  }

  chosenRange() {
    const end = Number(this.chosen.end);
    return `${moment(end - this.seconds).local} – ${moment(end).local}`;
  }

  select(label, name, options, value, changes = (text) => ({ [name]: text })) {
    const shown = options.some(([each]) => each === value) ? options : [[value, value || t("All")], ...options];
    const control = element("select", { onchange: (event) => this.choose(changes(event.target.value)) },
      shown.map(([each, text]) => element("option", { value: each, selected: each === value }, text)));
    return element("label", {}, element("span", {}, label), control);
  }

  async fillServices() {
    if (!this.board.variables.includes("job")) return;
    try {
      const known = await fetchJson("/data/services", {}, this.ended.signal);
      const namespace = this.board.is_fixed ? this.board.first : this.chosen.namespace ?? this.board.first;
      const namespaces = [...new Set(known.map((each) => each.namespace))].sort();
      const jobs = known.filter((each) => each.namespace === namespace).map((each) => [each.job, each.job]);
      const one = namespaces.length > 1 && this.board.variables.includes("namespace") && !this.board.is_fixed;
      const instances = await fetchJson("/data/instances", { namespace, job: this.chosen.job }, this.ended.signal);
      this.services.replaceChildren(
        ...(one ? [this.select(t("Namespace"), "namespace", namespaces.map((each) => [each, each]), namespace, (value) => ({ namespace: value, job: undefined, instance: undefined }))] : []),
        this.select(t("Service"), "job", [["", t("All")], ...jobs], this.chosen.job ?? "", (value) => ({ job: value, instance: undefined })),
        this.select(t("Instance"), "instance", [["", t("All")], ...instances.map((each) => [each, each])], this.chosen.instance ?? ""));
    } catch (error) {
      if (error.name !== "AbortError") this.services.replaceChildren(element("span", { class: "problem" }, error.message));
    }
  }

  zoom(begin, end) {
    const length = Math.max(60, Math.round(end - begin));
    clearTimeout(this.zooming); // connected charts tell it once each
    this.zooming = setTimeout(() => this.choose({ seconds: length, end: Math.round(end), refresh: undefined }), 50);
  }

  zoomOut() {
    const length = Math.min(400 * 86400, 2 * this.seconds);
    if (!("end" in this.chosen)) this.choose({ seconds: length });
    else this.choose({ seconds: length, end: Math.round(Number(this.chosen.end) + this.seconds / 2) });
  }

  // ── The panels ─────────────────────────────────────────────────────────────────────────────────

  row(row) {
    const low = row.panels.every((panel) => panel.shape === "number");
    const panels = row.panels.map((panel) => new PanelView(panel, this));
    this.views.push(...panels);
    if (!low) shares(panels.length).forEach((share, place) => panels[place].node.classList.add(`of-${share}`));
    const body = element("div", { class: `panels${low ? " numbers" : ""}` }, panels.map((each) => each.node));
    return element("details", { class: "row", open: !row.closed }, element("summary", {}, element("h2", {}, told(row.title))), body);
  }

  watch() {
    const seen = new IntersectionObserver((entries) => {
      for (const entry of entries) {
        const view = this.views.find((each) => each.node === entry.target);
        view.visible = entry.isIntersecting;
        if (entry.isIntersecting && !view.loaded) this.load(view);
      }
    }, { rootMargin: "200px" });
    for (const view of this.views) seen.observe(view.node);
    this.observer = seen;
    const every = "end" in this.chosen ? 0 : this.refresh;
    if (every > 0) this.timer = setInterval(() => this.reload(), 1000 * every);
    this.redraw = () => this.views.forEach((view) => view.draw());
    addEventListener("themechange", this.redraw);
  }

  reload() {
    if (document.hidden) return;
    for (const view of this.views) {
      if (view.visible) this.load(view);
      else view.loaded = false;
    }
  }

  load(view) {
    view.loaded = true;
    if (!this.waiting.includes(view)) this.waiting.push(view);
    this.next();
  }

  async next() {
    if (this.running >= AT_ONCE || !this.waiting.length) return;
    const view = this.waiting.shift();
    this.running += 1;
    const { namespace, job, instance, end } = this.chosen;
    const query = { board: this.board.uid, panel: view.panel.id, seconds: this.seconds, namespace, job, instance, end };
    try {
      view.fill(await fetchJson("/data/panel", query, this.ended.signal));
      const { local, utc } = moment(Date.now() / 1000);
      this.clock.textContent = "end" in this.chosen ? "" : local;
      this.clock.title = utc;
    } catch (error) {
      if (error.name !== "AbortError") view.fail(error.message);
    } finally {
      this.running -= 1;
    }
    this.next();
  }

  end() {
    this.ended.abort();
    clearInterval(this.timer);
    clearTimeout(this.zooming);
    removeEventListener("themechange", this.redraw);
    this.observer.disconnect();
    for (const view of this.views) view.end();
  }
}

/** Return for each panel how many are beside each other: three at most, and two of four. */
function shares(count) {
  const lines = Math.ceil(count / 3);
  const each = Array.from({ length: lines }, (_, line) => Math.floor(count / lines) + Number(line < count % lines));
  return each.flatMap((share) => Array(share).fill(share));
}

class PanelView {
  constructor(panel, board) {
    this.panel = panel;
    this.board = board;
    this.visible = this.loaded = false;
    this.body = element("div", { class: "body" }, element("p", { class: "faint empty" }, "…"));
    const goes = panel.onward && panel.onward !== board.board.uid;
    const title = goes ? element("a", { href: board.addressOf(panel.onward) }, told(panel.title)) : told(panel.title);
    this.node = element("section", { class: `card panel ${panel.shape}`, "aria-label": told(panel.title) },
      element("header", {}, element("h3", {}, title), element("span", { class: "help", tabindex: "0", role: "note", "aria-label": told(panel.text), "data-text": told(panel.text) }, "?")),
      this.body);
    this.resizing = new ResizeObserver(() => this.chart?.resize());
  }

  fill(data) {
    this.data = { ...data, curves: data.curves.map((curve) => ({ ...curve, legend: told(curve.legend) })) };
    this.draw();
  }

  fail(message) {
    this.drop();
    this.body.replaceChildren(element("p", { class: "problem empty" }, message));
  }

  draw() {
    if (!this.data) return;
    if (!this.data.curves.length) {
      this.drop();
      this.body.replaceChildren(element("p", { class: "faint empty" }, told(this.panel.empty)));
    } else if (this.panel.shape in CHARTS) this.drawChart();
    else this.body.replaceChildren(this[this.panel.shape]());
  }

  drawChart() {
    if (!this.plot) {
      this.plot = element("div", { class: "plot", role: "img" });
      this.legend = element("div", { class: "legend" });
      this.links = element("div", {});
      this.body.replaceChildren(this.plot, this.legend, this.links);
      this.resizing.observe(this.plot);
    }
    const { board } = this;
    this.chart = draw(this.plot, this.panel, this.data, {
      group: board.board.uid,
      onZoom: (begin, end) => board.zoom(begin, end),
      onRequest: (name) => board.open(`/requests/${encodeURIComponent(name)}`),
    });
    this.plot.setAttribute("aria-label", this.summary());
    this.legend.replaceChildren(...(TIMED.has(this.panel.shape) ? [this.legendTable()] : []));
    this.links.replaceChildren(this.slowest());
  }

  summary() {
    const lasts = this.data.curves.slice(0, MOST_LEGENDS).map((curve) => `${curve.legend}: ${format(curve.points.at(-1)[1], this.panel.unit)}`);
    return t("{title} Last values: {values}", { title: told(this.panel.title), values: lasts.join(", ") });
  }

  /** Return links to the requests with the largest values, for those who cannot click on a dot. */
  slowest() {
    const links = (this.data.dots ?? []).slice(0, MOST_LINKS).map(({ value, request }) =>
      element("a", { href: `/requests/${encodeURIComponent(request)}` }, format(value, this.panel.unit)));
    return links.length ? element("p", { class: "faint links" }, t("Slowest requests:"), " ", links.flatMap((link, place) => (place ? [", ", link] : [link]))) : "";
  }

  legendTable() {
    const { unit } = this.panel;
    const largest = this.data.curves.map((curve, place) => {
      const values = curve.points.map(([, value]) => value);
      return { curve, place, values, mean: values.reduce((sum, value) => sum + value, 0) / values.length };
    }).sort((one, other) => other.mean - one.mean);
    const rows = largest.slice(0, MOST_LEGENDS).map(({ curve, place, values, mean }) => {
      const swatch = element("i", {});
      swatch.style.background = colourOf(place);
      const cells = [mean, Math.max(...values), values.at(-1)].map((value) => element("td", {}, format(value, unit)));
      return element("tr", {}, element("th", { scope: "row" }, swatch, curve.legend), cells);
    });
    const more = this.data.curves.length - MOST_LEGENDS + this.data.left_out;
    if (more > 0) rows.push(element("tr", {}, element("th", { colspan: "4", class: "faint" }, t("and {count} more", { count: more }))));
    const names = ["", t("mean"), t("max"), t("last")].map((name) => element("th", { scope: "col" }, name));
    return element("table", {}, element("thead", {}, element("tr", {}, names)), element("tbody", {}, rows));
  }

  // ── Shapes without a chart ─────────────────────────────────────────────────────────────────────

  number() {
    const { limit, better, unit } = this.panel;
    const isBad = (value) => limit !== null && (better === "high" ? value < limit : value >= limit);
    const items = this.data.curves.map((curve) => {
      const value = curve.points.at(-1)[1];
      return element("div", { class: isBad(value) ? "bad" : "" }, element("strong", {}, format(value, unit)), element("span", { class: "faint" }, curve.legend));
    });
    return element("div", { class: "values" }, items);
  }

  bars() {
    const { unit, limit, better, maximum } = this.panel;
    const values = this.data.curves.map((curve) => curve.points.at(-1)[1]);
    const top = maximum ?? (unit === "percentunit" ? 1 : Math.max(1e-9, ...values));
    const rows = this.data.curves.map((curve, place) => {
      const value = values[place];
      const isBad = limit !== null && (better === "high" ? value < limit : value >= limit);
      const bar = element("i", { class: isBad ? "bad" : "" });
      bar.style.width = `${Math.min(100, Math.max(0, (100 * value) / top))}%`;
      return element("tr", {}, element("th", { scope: "row", title: curve.legend }, curve.legend || t("all")), element("td", { class: "bar" }, bar), element("td", {}, format(value, unit)));
    });
    return element("div", { class: "scroll" }, element("table", { class: "bars" }, element("tbody", {}, rows)));
  }

  table() {
    const names = [...new Set(this.data.curves.flatMap((curve) => Object.keys(curve.labels)))];
    const head = element("tr", {}, names.map((name) => element("th", { scope: "col" }, name.replaceAll("_", " "))));
    const rows = this.data.curves.map((curve) => element("tr", {}, names.map((name) => element("td", {}, curve.labels[name] ?? ""))));
    return element("div", { class: "scroll" }, element("table", { class: "labels" }, element("thead", {}, head), element("tbody", {}, rows)));
  }

  alerts() {
    const rows = this.data.curves.map(({ labels }) => element("li", {},
      element("span", { class: `badge firing ${labels.severity ?? ""}` }, told(labels.severity ?? "")),
      element("a", { href: this.board.addressOf(labels.dashboard ?? this.board.board.uid) }, labels.alertname ?? ""),
      element("span", {}, [labels.job, labels.instance, labels.machine].filter(Boolean).join(" · "))));
    return element("ul", { class: "alerts" }, rows);
  }

  drop() {
    this.resizing.disconnect();
    this.chart?.dispose();
    this.chart = this.plot = undefined;
  }

  end() {
    this.drop();
  }
}
