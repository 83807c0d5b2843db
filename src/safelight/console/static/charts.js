// Draw the series of a panel with ECharts: one function for each shape of safelight.dashboards.board.

import { token, sized } from "./dom.js";
import { format } from "./units.js";
import { locale, t } from "./words.js";

const GAP = 1.5; // steps without a point: the line is broken

/** Return the colours of the theme that a chart needs. */
function theme() {
  return {
    text: token("text-2"),
    line: token("line"),
    panel: token("panel"),
    bad: token("bad"),
    good: token("good"),
    middle: token("warn"),
    accent: token("accent"),
    quiet: token("quiet"),
    series: [1, 2, 3, 4, 5, 6, 7, 8].map((number) => token(`series-${number}`)),
  };
}

/** Return the colour of a series by its place. */
export function colourOf(place) {
  return token(`series-${(place % 8) + 1}`);
}

function base(colours) {
  return {
    animation: false,
    color: colours.series,
    textStyle: { fontFamily: token("font") },
    grid: { left: 8, right: 12, top: 12, bottom: 4, containLabel: true },
  };
}

function axes(data, panel, colours) {
  const label = { color: colours.text, fontSize: sized(11), hideOverlap: true };
  return {
    xAxis: {
      type: "time",
      min: 1000 * data.begin,
      max: 1000 * data.end,
      axisLabel: label,
      axisLine: { lineStyle: { color: colours.line } },
      axisTick: { show: false },
      splitNumber: 6,
    },
    yAxis: {
      type: "value",
      min: (range) => Math.min(0, range.min),
      axisLabel: { ...label, formatter: (value) => format(value, panel.unit) },
      splitLine: { lineStyle: { color: colours.line } },
      splitNumber: 4,
    },
  };
}

// The policy of the page forbids styles inside of HTML, so the tooltip is drawn on the canvas.
function tooltip(colours, more) {
  return {
    renderMode: "richText",
    confine: true,
    backgroundColor: colours.panel,
    borderColor: colours.line,
    textStyle: { color: token("text"), fontSize: sized(12) },
    ...more,
  };
}

function pointsOf(curve, step) {
  const points = [];
  let before = null;
  for (const [at, value] of curve.points) {
    if (before !== null && at - before > GAP * step) points.push([1000 * (before + step), null]);
    points.push([1000 * at, value]);
    before = at;
  }
  return points;
}

function zoom() {
  return { toolbox: { show: true, top: -100, feature: { dataZoom: { yAxisIndex: "none" } } } };
}

function limitLine(panel, colours) {
  if (panel.limit === null) return {};
  return {
    markLine: {
      silent: true,
      symbol: "none",
      label: { show: false },
      lineStyle: { color: colours.bad, type: "dashed", width: 1 },
      data: [{ yAxis: panel.limit }],
    },
  };
}

function lines(panel, data) {
  const colours = theme();
  const series = data.curves.map((curve, place) => ({
    type: "line",
    name: curve.legend,
    data: pointsOf(curve, data.step),
    showSymbol: curve.points.length === 1,
    symbolSize: 6,
    connectNulls: false,
    lineStyle: { width: 1.75 },
    emphasis: { focus: "series" },
    ...(place === 0 ? limitLine(panel, colours) : {}),
  }));
  if (data.dots?.length) series.push(requests(data.dots, colours));
  const hint = tooltip(colours, { trigger: "axis", order: "valueDesc", valueFormatter: (value) => format(value, panel.unit) });
  return { ...base(colours), ...axes(data, panel, colours), ...zoom(), tooltip: hint, series };
}

/** Return the name of the series of single requests; a click on one opens it. */
export const REQUESTS = t("one request");

function requests(dots, colours) {
  return {
    type: "scatter",
    name: REQUESTS,
    symbol: "diamond",
    symbolSize: 8,
    z: 4,
    color: colours.text,
    cursor: "pointer",
    data: dots.map(({ at, value, request }) => ({ value: [1000 * at, value], request })),
    tooltip: { trigger: "item" },
  };
}

function stack(panel, data) {
  const options = lines(panel, data);
  const wide = `${Math.min(90, (100 * data.step) / (data.end - data.begin) / 0.011)}%`;
  options.series = data.curves.map((curve) => ({
    type: "bar",
    name: curve.legend,
    stack: "all",
    barWidth: wide,
    data: curve.points.map(([at, value]) => [1000 * at, value]),
  }));
  return options;
}

/** Return cells: a row for each curve, a column for each step. */
function cells(data, numberOf) {
  const count = Math.round((data.end - data.begin) / data.step) + 1;
  const times = Array.from({ length: count }, (_, place) => data.begin + place * data.step);
  const values = data.curves.flatMap((curve, row) =>
    curve.points.map(([at, value]) => [Math.round((at - data.begin) / data.step), row, numberOf(value)]));
  return { times, values };
}

function cellChart(panel, data, { unit, names, map, numberOf = (value) => value, gap = 1, textOf = (value) => format(value, unit) }) {
  const colours = theme();
  const { times, values } = cells(data, numberOf);
  const clock = (at) => new Date(1000 * at).toLocaleTimeString(locale(), { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
  const label = { color: colours.text, fontSize: sized(11) };
  return {
    ...base(colours),
    xAxis: { type: "category", data: times.map(clock), axisLabel: { ...label, hideOverlap: true }, axisTick: { show: false }, axisLine: { show: false } },
    yAxis: { type: "category", data: names, axisLabel: { ...label, width: 150, overflow: "truncate" }, axisTick: { show: false }, axisLine: { show: false } },
    tooltip: tooltip(colours, {
      formatter: ({ value: [column, row, value] }) => `${names[row]}\n${clock(times[column])}  ${textOf(value)}`,
    }),
    visualMap: { show: false, ...map(colours) },
    series: [{ type: "heatmap", data: values, itemStyle: { borderWidth: gap, borderColor: colours.panel }, emphasis: { itemStyle: { borderColor: colours.accent } } }],
  };
}

function grid(panel, data) {
  const names = data.curves.map((curve) => curve.legend);
  const map = (colours) => ({ min: 0, max: 1, inRange: { color: [colours.bad, colours.middle, colours.good] } });
  return cellChart(panel, data, { unit: panel.unit, names, map });
}

function states(panel, data) {
  const names = data.curves.map((curve) => curve.legend);
  const map = (colours) => ({ type: "piecewise", pieces: [{ value: 0, color: colours.quiet }, { value: 1, color: colours.bad }] });
  return cellChart(panel, data, { names, map, gap: 0, numberOf: (value) => Number(value >= 1), textOf: (value) => (value ? t("above limit") : t("ok")) });
}

function heat(panel, data) {
  const names = data.curves.map((curve) => edge(curve, panel));
  const top = Math.max(1e-9, ...data.curves.flatMap((curve) => curve.points.map(([, value]) => value)));
  const map = (colours) => ({ min: 0, max: top, inRange: { color: [colours.panel, colours.accent] } });
  return cellChart(panel, data, { unit: panel.unit, names, map, gap: 0 });
}

function edge(curve, panel) {
  const bound = curve.labels.le ?? curve.legend;
  return bound === "+Inf" ? t("more") : `≤ ${format(Number(bound), panel.axis_unit || "short")}`;
}

function buckets(panel, data) {
  const colours = theme();
  const label = { color: colours.text, fontSize: sized(11) };
  return {
    ...base(colours),
    xAxis: { type: "category", data: data.curves.map((curve) => edge(curve, { ...panel, axis_unit: panel.axis_unit || "s" })), axisLabel: { ...label, hideOverlap: true }, axisTick: { show: false }, axisLine: { lineStyle: { color: colours.line } } },
    yAxis: { type: "value", axisLabel: label, splitLine: { lineStyle: { color: colours.line } }, splitNumber: 4 },
    tooltip: tooltip(colours, { trigger: "axis", valueFormatter: (value) => format(value, "short") }),
    series: [{ type: "bar", itemStyle: { color: colours.accent, borderRadius: [2, 2, 0, 0] }, barCategoryGap: "20%", data: data.curves.map((curve) => curve.points.at(-1)[1]) }],
  };
}

/** The shapes that ECharts draws, by name. */
export const CHARTS = { lines, stack, grid, states, heat, buckets };
/** The shapes with a time axis: their crosshairs and zooms belong together. */
export const TIMED = new Set(["lines", "stack"]);

/** Return a chart in an element. `onZoom` gets begin and end in seconds since 1970, `onRequest` an id. */
export function draw(node, panel, data, { group, onZoom, onRequest }) {
  const chart = echarts.getInstanceByDom(node) ?? echarts.init(node, null, { renderer: "canvas" });
  chart.setOption(CHARTS[panel.shape](panel, data), { notMerge: true });
  if (!TIMED.has(panel.shape)) return chart;
  if (chart.group !== group) {
    chart.group = group;
    echarts.connect(group);
    chart.on("click", { seriesName: REQUESTS }, (event) => onRequest(event.data.request));
    chart.on("datazoom", (event) => {
      const { startValue, endValue } = event.batch?.[0] ?? event;
      if (endValue > startValue) onZoom(startValue / 1000, endValue / 1000);
    });
  }
  chart.dispatchAction({ type: "takeGlobalCursor", key: "dataZoomSelect", dataZoomSelectActive: true });
  return chart;
}
