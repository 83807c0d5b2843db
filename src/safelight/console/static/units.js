// Write numbers with units, as on the dashboards of Grafana.

import { locale } from "./words.js";

const BYTES = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
const SHORT = ["", "K", "M", "G", "T"];
const TIMES = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"], [1e-3, "ms"], [1e-6, "µs"], [1e-9, "ns"]];
const LONG = TIMES.slice(0, 4);
const ROUNDED = 0.9995; // 999.7 ms are written as 1 s, not as 1000 ms
const SUFFIX = { reqps: " req/s", ops: " /s", joule: " J", watt: " W", celsius: " °C" };

/** Return a number with about three digits that count. */
function digits(value) {
  if (value === 0) return "0";
  return Math.abs(value) < 100 && Math.abs(value) >= 0.01 ? trim(threeDigits(value)) : threeDigits(value);
}

function threeDigits(value) {
  const size = Math.abs(value);
  if (size >= 100) return value.toFixed(0);
  if (size >= 10) return value.toFixed(1);
  return size >= 0.01 ? value.toFixed(2) : value.toPrecision(2);
}

const trim = (text) => text.replace(/\.?0+$/, "");

function scaled(value, names, base) {
  let place = 0;
  let rest = value;
  while (Math.abs(rest) >= base && place < names.length - 1) {
    rest /= base;
    place += 1;
  }
  return [rest, names[place]];
}

function time(seconds, written = digits) {
  if (seconds === 0) return "0 s";
  const [size, name] = TIMES.find(([each]) => Math.abs(seconds) >= ROUNDED * each) ?? TIMES.at(-1);
  return `${written(seconds / size)} ${name}`;
}

/** Return a value as one of a column: times keep their last zeros, so that the column looks even. */
export function inColumn(value, unit) {
  return unit === "s" && Number.isFinite(value) ? time(value, threeDigits) : format(value, unit);
}

/** Return a value in a unit of the dashboards as text. */
export function format(value, unit) {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  if (unit === "percentunit") return `${trim((100 * value).toFixed(1))} %`;
  if (unit === "s") return time(value);
  if (unit === "bytes") {
    const [rest, name] = scaled(value, BYTES, 1024);
    return `${digits(rest)} ${name}`;
  }
  if (unit === "short") {
    const [rest, name] = scaled(value, SHORT, 1000);
    return name ? `${digits(rest)} ${name}` : digits(rest);
  }
  return `${digits(value)}${SUFFIX[unit] ?? ""}`;
}

/** Return a moment in the viewer's time zone; `title` for the same in UTC. */
export function moment(seconds) {
  const date = new Date(1000 * seconds);
  if (Number.isNaN(date.getTime())) return { local: "–", utc: "" }; // an address may have any text
  const local = date.toLocaleString(locale(), { dateStyle: "short", timeStyle: "medium" });
  return { local, utc: `${date.toISOString().replace("T", " ").slice(0, 19)} UTC` };
}

/** Return how long something has lasted, in two units at most: 7 min 38 s. */
export function ago(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  const place = Math.max(0, LONG.findIndex(([size]) => whole >= size));
  const [size, name] = whole ? LONG[place] : LONG.at(-1);
  const first = Math.floor(whole / size);
  const [smaller, smallName] = LONG[place + 1] ?? [1, ""];
  const second = Math.floor((whole - first * size) / smaller);
  return smallName && second ? `${first} ${name} ${second} ${smallName}` : `${first} ${name}`;
}
