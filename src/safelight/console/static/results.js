// How a request ended, in words: the same in tables and on the page of one request.

import { element } from "./dom.js";
import { inColumn } from "./units.js";
import { t } from "./words.js";

const FAILED = 400;
const OF_THE_SERVICE = 500;

/** Return whether a request failed, or its output is damaged. */
export function hasFailed(row) {
  return row.error !== "none" || row.status_code >= FAILED || (row.found_error ?? "none") !== "none";
}

/** Return whether the service or its output is wrong; else a failure is the caller's. */
export function isFaultOfService(row) {
  return hasFailed(row) && (row.status_code < FAILED || row.status_code >= OF_THE_SERVICE);
}

/** Return the reason of a failure, or ok. */
export function reasonOf(row) {
  if (row.error !== "none") return row.error;
  if ((row.found_error ?? "none") !== "none") return row.found_error;
  return row.status_code >= FAILED ? "failed" : "ok";
}

/** Return an element with the status and the reason; red if the service or the output is wrong. */
export function resultOf(row) {
  return element("span", { class: isFaultOfService(row) ? "problem" : hasFailed(row) ? "" : "second" }, `${row.status_code} ${reasonOf(row).replaceAll("_", " ")}`);
}

/** Return what was not as asked: pairs of a warning and its details. */
export function warningsOf(row) {
  const spaced = (text) => text.replaceAll(",", ", ").replaceAll("_", " ");
  return [
    row.degraded ? [t("degraded"), spaced(row.degraded)] : null,
    row.overridden ? [t("overridden"), spaced(row.overridden)] : null,
    row.truncated ? [t("truncated"), t("the instruction was too long")] : null,
  ].filter(Boolean);
}

/** Return the numbers of a request as texts, empty if unknown. */
export function cellsOf(row) {
  return {
    took: inColumn(row.seconds, "s"),
    queue: row.queue_seconds > 0 ? inColumn(row.queue_seconds, "s") : "",
    steps: row.steps === undefined ? "" : String(row.steps),
    size: row.width === undefined ? "" : `${row.width}×${row.height}`,
    rating: row.rating === undefined ? "" : t("{stars} of 5", { stars: row.rating }),
    seed: row.seed ?? "",
  };
}
