// One panel of a dashboard: a curve, a number, bars, a table or alerts.

import { unknown } from "./absent.js";
import { CHARTS, TIMED, colourOf, draw } from "./charts.js";
import { element, messageOf } from "./dom.js";
import { format, inColumn } from "./units.js";
import { t, told } from "./words.js";

const MOST_LEGENDS = 12;
const MOST_LINKS = 3;
const NOW = "now"; // of the label `fires`
const SEVERITIES = ["critical", "warning", "info"];

export class PanelView {
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
    this.problem = null;
    this.data = { ...data, curves: data.curves.map((curve) => ({ ...curve, legend: told(curve.legend) })) };
    this.draw();
  }

  fail(error) {
    this.drop();
    this.data = undefined; // no number that is old may come back
    this.problem = error;
    this.body.replaceChildren(unknown(messageOf(error)));
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
      const cells = [mean, Math.max(...values), values.at(-1)].map((value) => element("td", {}, inColumn(value, unit)));
      return element("tr", {}, element("th", { scope: "row" }, swatch, curve.legend), cells);
    });
    const more = this.data.curves.length - MOST_LEGENDS + this.data.left_out;
    if (more > 0) rows.push(element("tr", {}, element("th", { colspan: "4", class: "faint" }, t("and {count} more", { count: more }))));
    const names = ["", t("mean"), t("max"), t("latest")].map((name) => element("th", { scope: "col" }, name));
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
    const order = ({ labels }) => 10 * Number(labels.fires !== NOW) + (SEVERITIES.indexOf(labels.severity) + 3) % 3;
    const rows = this.data.curves.toSorted((one, other) => order(one) - order(other)).map(({ labels }) => element("li", { class: labels.fires === NOW ? "" : "ended" },
      element("span", { class: `badge ${labels.fires === NOW ? `firing ${labels.severity ?? ""}` : ""}` }, labels.fires === NOW ? told(labels.severity ?? "") : t("ended")),
      element("a", { href: this.board.addressOf(labels.dashboard ?? this.board.board.uid) }, labels.alertname ?? ""),
      element("span", {}, [labels.job, labels.instance, labels.machine, labels.fires === NOW ? "" : told(labels.fires ?? "")].filter(Boolean).join(" · "))));
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
