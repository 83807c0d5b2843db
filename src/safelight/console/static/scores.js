// Draw the scores of instruction types: the radar, and quality beside time.

import { colourOf } from "./charts.js";
import { element, token, sized } from "./dom.js";
import { format } from "./units.js";
import { t } from "./words.js";

export const AXES = ["accuracy", "speed", "structure", "stability"];
/** What axes and measures are called. */
export const NAMES = { accuracy: t("accuracy"), speed: t("speed"), structure: t("structure"), stability: t("stability"), score: t("score"), adherence: t("adherence"), rating: t("rating") };
const BEST = 10;
const AREA = 0.1;

/** A chart that follows the size of its element and the theme; `options` returns what it shows. */
export class Chart {
  constructor(name, label, options) {
    this.options = options;
    this.node = element("div", { class: name, role: "img", "aria-label": label });
    this.resizing = new ResizeObserver(() => (this.chart ? this.chart.resize() : this.draw()));
    this.resizing.observe(this.node);
    this.redraw = () => this.draw();
    addEventListener("themechange", this.redraw);
  }

  draw() {
    if (!this.node.clientWidth) return;
    this.chart ??= echarts.init(this.node, null, { renderer: "canvas" });
    this.chart.setOption({ animation: false, textStyle: { fontFamily: token("font") }, ...this.options() }, { notMerge: true });
  }

  end() {
    removeEventListener("themechange", this.redraw);
    this.resizing.disconnect();
    this.chart?.dispose();
  }
}

function tooltip(more) {
  return { renderMode: "richText", confine: true, backgroundColor: token("panel"), borderColor: token("line"), textStyle: { color: token("text"), fontSize: sized(12) }, ...more };
}

/** Return the radar of some types, which have a value on each of the axes: pairs of a type and the place of its colour. */
export function radarOptions(chosen, axes) {
  const line = { color: token("line") };
  return {
    tooltip: tooltip({ trigger: "item", valueFormatter: (value) => format(value, "short") }),
    radar: {
      indicator: axes.map((axis) => ({ name: NAMES[axis], max: BEST })),
      radius: "64%",
      splitNumber: 5,
      axisName: { color: token("text-2"), fontSize: sized(12) },
      axisLine: { lineStyle: line },
      splitLine: { lineStyle: line },
      splitArea: { show: false },
    },
    series: [{
      type: "radar",
      symbolSize: 5,
      data: chosen.map(([each, place]) => ({
        name: each.name.replaceAll("_", " "),
        value: axes.map((axis) => each.axes[axis].value),
        itemStyle: { color: colourOf(place) },
        lineStyle: { color: colourOf(place), width: 2 },
        areaStyle: { color: colourOf(place), opacity: AREA },
      })),
    }],
  };
}

/** Return quality beside time: each setting with its intervals, and the line of those worth choosing. */
export function tradeoffOptions({ by, choices }) {
  const label = { color: token("text-2"), fontSize: sized(11) };
    const point = (choice) => ({ name: settingOf(choice), value: [choice.seconds.value, choice.quality.value], choice });
  const front = choices.filter((choice) => choice.on_front);
  const others = choices.filter((choice) => !choice.on_front);
  const axis = { type: "value", scale: true, nameTextStyle: label, axisLine: { lineStyle: { color: token("line") } }, splitLine: { lineStyle: { color: token("line") } }, splitNumber: 4 };
  return {
    grid: { left: 8, right: 24, top: 30, bottom: 24, containLabel: true },
    tooltip: tooltip({ trigger: "item", formatter: ({ data }) => (data.choice ? `${data.name}\n${says(data.choice, by)}` : "") }),
    xAxis: { ...axis, name: t("seconds without the queue"), nameLocation: "middle", nameGap: 26, axisLabel: { ...label, formatter: (value) => format(value, "s") } },
    yAxis: { ...axis, name: NAMES[by], nameTextStyle: { ...label, align: "left" }, axisLabel: { ...label, formatter: (value) => String(Number(value.toFixed(3))) } },
    series: [
      { type: "line", data: front.map(point), color: token("accent"), symbolSize: sized(9), symbol: "circle", lineStyle: { width: 2 }, label: { show: true, position: "top", color: token("text-2"), fontSize: sized(11), formatter: ({ data }) => t("{count} steps", { count: data.choice.setting.steps }) }, labelLayout: { hideOverlap: true }, z: 3 },
      { type: "scatter", data: others.map(point), color: token("text-2"), symbolSize: 8, itemStyle: { opacity: 0.75 } },
    ],
  };
}

/** Return a setting in words. */
export function settingOf({ setting: { steps, width, height, precision } }) {
  return t("{steps} steps, {size}, {precision}", { steps, size: `${width}×${height}`, precision });
}

/** Return a setting's figures in words. */
export function says({ seconds, quality, count }, by) {
  const interval = (value, unit) => t("{value} ({low} to {high})", { value: format(value.value, unit), low: format(value.low, unit), high: format(value.high, unit) });
  return `${NAMES[by]} ${interval(quality, "short")}, ${interval(seconds, "s")}, ${t("{count} requests", { count })}`;
}
