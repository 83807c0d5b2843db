// Build elements. Text is always text: nothing here makes HTML of a string.

import { t, told } from "./words.js";

/** Return an element with attributes, listeners (names that begin with `on`) and children. */
export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (value === true) made.setAttribute(key, "");
    else if (value !== false && value !== null && value !== undefined) made.setAttribute(key, value);
  }
  made.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return made;
}

/** Replace what is in a place, and keep the keyboard's place in it. */
export function refill(place, ...children) {
  const held = place.contains(document.activeElement) ? document.activeElement : null;
  const number = held ? likes(place, held).indexOf(held) : 0;
  place.replaceChildren(...children);
  if (held) likes(place, held)[number]?.focus({ preventScroll: true });
}

/** Return the elements of a place that lead to the same, or are called the same. */
function likes(place, held) {
  const nameOf = (each) => each.getAttribute("href") ?? each.getAttribute("aria-label") ?? each.textContent;
  return [...place.querySelectorAll(held.localName)].filter((each) => nameOf(each) === nameOf(held));
}

let logIn = null;

/** Say how a viewer logs in when the console asks for it: a function that waits until it is done. */
export function onLogin(ask) {
  logIn = ask;
}

/** Ask the console or, by it, a service. Throws an Error with the server's words; `reason` and `status` have more. */
export async function ask(path, { query = {}, ...options } = {}) {
  const known = Object.entries(query).filter(([, value]) => value !== "" && value !== undefined && value !== null);
  const address = known.length ? `${path}?${new URLSearchParams(known)}` : path;
  let answer;
  try {
    answer = await fetch(address, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Error(t("The console does not answer. Is it still running?"));
  }
  if (answer.ok) return answer;
  const content = await answer.json().catch(() => ({}));
  if (answer.status === 401 && logIn && path !== "/data/session") {
    await logIn(); // what was typed on the page stays
    return ask(path, { query, ...options });
  }
  if (content.reason === "prometheus_absent") content.detail = t("Prometheus does not answer: {address}", content);
  throw Object.assign(new Error(content.detail ? told(content.detail) : t("The console answered {status}.", { status: answer.status })), { status: answer.status, reason: content.reason, content });
}

const FAULTS = [TypeError, ReferenceError, RangeError];

/** Return what a viewer is told of an error: the server's words, or that this page has a fault. */
export function messageOf(error) {
  if (!FAULTS.some((fault) => error instanceof fault)) return error.message;
  console.error(error);
  return t("This page has a fault: {message}. Please report it.", { message: error.message });
}

/** Fetch JSON from the console. Throws an Error with the server's words. */
export async function fetchJson(path, query = {}, signal = undefined) {
  return (await ask(path, { query, signal })).json();
}

/** Send JSON to the console and return its answer. Throws an Error with the server's words. */
export async function sendJson(path, content, method = "POST") {
  const answer = await ask(path, { method, body: JSON.stringify(content), headers: { "content-type": "application/json" } });
  return answer.json();
}

/** Return the value of a colour or size of the style sheet. */
export function token(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}

/** Return a length of a drawing, in pixels, which grows with the texts around it. */
export function sized(pixels) {
  return (pixels * parseFloat(getComputedStyle(document.documentElement).fontSize)) / 16;
}
