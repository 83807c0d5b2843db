// The texts of the pages in the viewer's language. The English text is the key of its translation.

export const LANGUAGES = [["en", "English"], ["zh", "中文"]];
const KEPT = "language";
const UNITS = "%|ms|s|min|m|h|d|days|B|KiB|MiB|GiB|TiB|°C";
// As safelight.translation: a number with its unit is a placeholder, code is not touched.
const PARTS = new RegExp(String.raw`(\{\{.*?\}\}|${"`[^`]*`"})|(?<![\w.])\d+(?:[.,]\d+)*(?:e[+-]?\d+)?(?: ?(?:${UNITS}))?(?!\w|[.,]\d)`, "g");

// As safelight.translation: where a finished text has a value.
const HOLE = /(\{\{.*?\}\}|\{\w+\})/;
const LEAST_LETTERS = 4;
const MOST_VALUE_CHARACTERS = 300;

let words = {};
let patterns = null;

/** Return the language of the pages, such as zh. */
export function language() {
  return document.documentElement.lang;
}

/** Return how dates are written; English ones as the browser writes them. */
export function locale() {
  return language() === "en" ? undefined : language();
}

function chosen() {
  const known = LANGUAGES.map(([code]) => code);
  let kept = null;
  try {
    kept = localStorage.getItem(KEPT);
  } catch {
    // Storage may be forbidden; then the browser's language decides each time.
  }
  const wanted = [kept ?? "", ...navigator.languages].map((name) => name.slice(0, 2));
  return wanted.find((code) => known.includes(code)) ?? "en";
}

/** Load the texts, before any page is made. Without them the pages are in English. */
export async function loadWords() {
  const code = chosen();
  document.documentElement.lang = code;
  if (code === "en") return;
  try {
    words = await (await fetch(`/words/${code}`)).json();
  } catch {
    document.documentElement.lang = "en";
  }
}

/** Remember another language, and load the page in it. */
export function choose(code) {
  try {
    localStorage.setItem(KEPT, code);
  } catch {
    return;
  }
  location.reload();
}

/** Return a translation; the text itself if it has none, whatever its name is. */
function translated(text) {
  return Object.hasOwn(words, text) ? words[text] : text;
}

/** Return a text of a page. `{name}` in it stands for a value. */
export function t(text, values = {}) {
  return translated(text).replace(/\{(\w+)\}/g, (whole, name) => (Object.hasOwn(values, name) ? String(values[name]) : whole));
}

/**
 * Return a finished text of the server: the title of a panel, a finding, an error. Values in it are
 * translated too, if they are phrases. A text that nobody knows is translated clause by clause.
 */
export function told(text) {
  if (language() === "en") return text;
  if (Object.hasOwn(words, text)) return words[text];
  const values = [];
  const key = text.replace(PARTS, (part, kept) => (kept ? part : `{${values.push(part) - 1}}`));
  if (key === "{0}") return measured(text);
  if (Object.hasOwn(words, key)) return t(key, values.map(measured));
  patterns ??= patternsOf(words);
  for (const { expression, holes, translation } of patterns) {
    const match = expression.exec(text);
    if (match) return translation.split(HOLE).map((part) => (holes.includes(part) ? told(match[1 + holes.indexOf(part)]) : part)).join("");
  }
  const stop = text.indexOf("; ");
  return stop < 0 ? text : `${told(text.slice(0, stop))}；${told(text.slice(stop + 2))}`;
}

/** Return a number with its unit as the language writes it, such as `5 %` as `5%`. */
function measured(value) {
  const [number] = value.match(/^[\d.,e+-]*\d/) ?? [""];
  const unit = `{0}${value.slice(number.length)}`;
  return number ? translated(unit).replace("{0}", number) : value;
}

/** Return an expression for each phrase with values, the longest phrase first. */
function patternsOf(phrases) {
  const found = [];
  for (const [key, translation] of Object.entries(phrases)) {
    const parts = key.split(HOLE);
    const letters = parts.filter((_, place) => place % 2 === 0).join("");
    if (parts.length < 3 || letters.replace(/[^\p{L}]/gu, "").length < LEAST_LETTERS) continue;
    const source = parts.map((part, place) => (place % 2 ? `(.{0,${MOST_VALUE_CHARACTERS}}?)` : part.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"))).join("");
    found.push({ expression: new RegExp(`^${source}$`, "s"), holes: parts.filter((_, place) => place % 2), translation, length: letters.length });
  }
  return found.sort((one, other) => other.length - one.length);
}

/** Return sentences one after the other; Chinese ones need no space between them. */
export function joined(...sentences) {
  return sentences.filter(Boolean).join(language() === "zh" ? "" : " ");
}

/** Return a text with a capital first letter. */
export function capital(text) {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
