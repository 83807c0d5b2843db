// Draw the evidence of a finding: its series around the moment, which is marked, and the limit.

import { colourOf } from "./charts.js";
import { element, sized, token } from "./dom.js";
import { format } from "./units.js";
import { t } from "./words.js";

const GAP = 1.5; // steps without a point: the line is broken
const MOST_NAMES = 6;

/** A chart that follows the size of its element and the theme. */
export class EvidenceChart {
  constructor(curve, frame, says) {
    this.curve = curve;
    this.frame = frame;
    this.subjects = curve.lines.filter((line) => line.is_subject).length;
    this.plot = element("div", { class: "plot", role: "img", "aria-label": this.summary(says) });
    this.legend = element("p", { class: "faint names" });
    this.node = element("div", { class: "evidence-chart" }, this.plot, this.legend);
    this.resizing = new ResizeObserver(() => this.resize());
    this.resizing.observe(this.plot);
    this.redraw = () => this.draw();
    addEventListener("themechange", this.redraw);
  }

  summary(says) {
    const lasts = this.curve.lines.slice(0, MOST_NAMES).map((line) => `${line.name} ${format(this.valueAt(line), this.curve.unit)}`);
    return t("{says}. At the moment: {values}", { says, values: lasts.join(", ") });
  }

  /** Return the last value before the moment. */
  valueAt(line) {
    return (line.points.findLast(([at]) => at <= this.frame.moment) ?? line.points[0])?.[1];
  }

  resize() {
    if (this.chart) this.chart.resize();
    else if (this.plot.clientWidth) this.draw();
  }

  draw() {
    if (!this.plot.clientWidth) return;
    this.chart ??= echarts.init(this.plot, null, { renderer: "canvas" });
    this.chart.setOption(this.options(), { notMerge: true });
    this.fillLegend();
  }

  colourOf(line, place) {
    if (!this.subjects) return colourOf(place);
    return line.is_subject ? token("accent") : token("text-2");
  }

  options() {
    const { begin, end } = this.frame;
    const { unit, lines } = this.curve;
    const label = { color: token("text-2"), fontSize: sized(11), hideOverlap: true };
    return {
      animation: false,
      textStyle: { fontFamily: token("font") },
      grid: { left: 4, right: 14, top: 20, bottom: 2, containLabel: true },
      xAxis: { type: "time", min: 1000 * begin, max: 1000 * end, splitNumber: 5, axisLabel: label, axisTick: { show: false }, axisLine: { lineStyle: { color: token("line") } } },
      yAxis: { type: "value", min: (range) => Math.min(0, range.min), max: (range) => this.top(range.max), splitNumber: 3, axisLabel: { ...label, formatter: (value) => format(value, unit) }, splitLine: { lineStyle: { color: token("line") } } },
      tooltip: { trigger: "axis", order: "valueDesc", renderMode: "richText", confine: true, backgroundColor: token("panel"), borderColor: token("line"), textStyle: { color: token("text"), fontSize: sized(12) }, valueFormatter: (value) => format(value, unit) },
      series: lines.map((line, place) => this.series(line, place)),
    };
  }

  /** Return the end of the axis: the limit is visible, also if no value comes near it. */
  top(largest) {
    const { limit, unit } = this.curve;
    const most = Math.max(largest, limit ?? largest);
    if (unit === "percentunit" && most > 0.5 && most <= 1) return 1;
    return limit !== null && limit >= largest ? 1.15 * limit : undefined;
  }

  series(line, place) {
    const isQuiet = this.subjects > 0 && !line.is_subject;
    return {
      type: "line",
      name: line.name || t("all"),
      data: broken(line.points, this.frame.step),
      color: this.colourOf(line, place),
      showSymbol: line.points.length === 1,
      lineStyle: { width: isQuiet ? 1 : 2, opacity: isQuiet ? 0.55 : 1 },
      z: isQuiet ? 2 : 3,
      ...(place === 0 ? this.marks() : {}),
    };
  }

  marks() {
    const { begin, end, moment, window } = this.frame;
    const side = (moment - begin) / (end - begin) > 0.75 ? "right" : "center";
    const at = { xAxis: 1000 * moment, lineStyle: { color: token("text"), width: 1.5, type: "solid" }, label: { show: true, formatter: t("this moment"), position: "end", align: side, color: token("text-2"), fontSize: sized(11), distance: 4 } };
    const { limit, unit } = this.curve;
    const bound = { yAxis: limit, lineStyle: { color: token("bad"), width: 1, type: "dashed" }, label: { show: true, formatter: t("limit {value}", { value: format(limit, unit) }), position: "insideStartTop", color: token("bad"), fontSize: sized(11) } };
    return {
      markLine: { silent: true, symbol: "none", data: limit === null ? [at] : [at, bound] },
      markArea: { silent: true, itemStyle: { color: token("text-2"), opacity: 0.14 }, data: [[{ xAxis: 1000 * (moment - window) }, { xAxis: 1000 * moment }]] },
    };
  }

  fillLegend() {
    const { lines, left_out: leftOut } = this.curve;
    const named = this.subjects ? lines.slice(0, this.subjects) : lines.slice(0, MOST_NAMES);
    const items = named.map((line, place) => this.name(line.name || t("all"), this.colourOf(line, place)));
    const others = lines.length - named.length + leftOut;
    if (others > 0 && this.subjects) items.push(this.name(others === 1 ? t("one other") : t("{count} others", { count: others }), token("text-2")));
    else if (others > 0) items.push(t("and {count} more", { count: others }));
    this.legend.replaceChildren(...items);
  }

  name(text, colour) {
    const swatch = element("i", {});
    swatch.style.background = colour;
    return element("span", {}, swatch, text.replaceAll("_", " "));
  }

  end() {
    removeEventListener("themechange", this.redraw);
    this.resizing.disconnect();
    this.chart?.dispose();
  }
}

function broken(points, step) {
  const found = [];
  let before = null;
  for (const [at, value] of points) {
    if (before !== null && at - before > GAP * step) found.push([1000 * (before + step), null]);
    found.push([1000 * at, value]);
    before = at;
  }
  return found;
}
