// Write a text of the server as nodes: code as code, and times in the viewer's zone.

import { element } from "./dom.js";
import { moment } from "./units.js";
import { language, told } from "./words.js";

const PARTS = /(`[^`]+`|\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ)/;
const ENDS = /[.!?。！？]$/;

/** Return the nodes of a text in the viewer's language. */
export function prose(text) {
  return nodesOf(told(text));
}

/** Return the nodes of a text that begins like a sentence and ends like one. */
export function sentence(text) {
  const own = told(text);
  const begun = /^[a-z]+(\s|$)/.test(own) ? own[0].toUpperCase() + own.slice(1) : own;
  return nodesOf(ENDS.test(begun) ? begun : `${begun}${language() === "zh" ? "。" : "."}`);
}

function nodesOf(text) {
  return text.split(PARTS).filter(Boolean).map((part) => {
    if (part.length > 1 && part.startsWith("`") && part.endsWith("`")) return element("code", {}, part.slice(1, -1));
    return PARTS.test(part) ? time(part) : part;
  });
}

function time(text) {
  const { local, utc } = moment(Date.parse(text) / 1000);
  return element("time", { datetime: text, title: utc }, local);
}
