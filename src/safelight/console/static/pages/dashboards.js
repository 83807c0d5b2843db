// A dashboard: the panels that Grafana shows, with the same queries.

import { absentNotice, absentOf } from "../absent.js";
import { element, fetchJson, messageOf } from "../dom.js";
import { PanelView } from "../panel.js";
import { moment } from "../units.js";
import { t, told } from "../words.js";

const RANGES = [["900", t("15 minutes")], ["1800", t("30 minutes")], ["3600", t("1 hour")], ["10800", t("3 hours")], ["21600", t("6 hours")], ["43200", t("12 hours")], ["86400", t("1 day")], ["172800", t("2 days")], ["604800", t("7 days")], ["2592000", t("30 days")]];
const REFRESHES = [["0", t("Off")], ["5", "5 s"], ["10", "10 s"], ["60", "1 min"], ["300", "5 min"]];
const SECONDS = { s: 1, m: 60, h: 3600, d: 86400 };
const AT_ONCE = 6;

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
    this.said = "";
    this.ended = new AbortController();
    this.leave = () => this.end();
    this.notice = element("div", {});
    page.replaceChildren(this.head(), this.notice, ...board.rows.map((row) => this.row(row)));
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
    const [first, last] = [moment(end - this.seconds).local, moment(end).local];
    const day = last.slice(0, last.search(/[ ,]/) + 1);
    return `${first} – ${first.startsWith(day) ? last.slice(day.length).trim() : last}`;
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
      if (error.name !== "AbortError") this.services.replaceChildren(); // the panels say why
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
      if (error.name !== "AbortError") view.fail(error);
    } finally {
      this.running -= 1;
    }
    this.say();
    this.next();
  }

  /** Say once for the page why numbers are unknown. */
  say() {
    const error = this.views.find(({ problem }) => problem)?.problem;
    const shown = error ? messageOf(error) : "";
    if (shown === this.said) return;
    this.said = shown;
    const address = error ? absentOf(error) : "";
    this.notice.replaceChildren(address ? absentNotice(address, this.start.pages) : shown ? element("p", { class: "notice", role: "alert" }, shown) : "");
    if (!error) this.fillServices();
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
