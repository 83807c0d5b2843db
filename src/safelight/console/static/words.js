// The texts of the pages in the viewer's language. The English text is the key of its translation.

export const LANGUAGES = [["en", "English"], ["zh", "中文"]];
const KEPT = "language";
const UNITS = "%|ms|s|min|m|h|d|days|B|KiB|MiB|GiB|TiB|°C";
// As safelight.translation: a number with its unit is a placeholder, code is not touched.
const PARTS = new RegExp(String.raw`(\{\{.*?\}\}|${"`[^`]*`"})|(?<![\w.])\d+(?:[.,]\d+)*(?:e[+-]?\d+)?(?: ?(?:${UNITS}))?(?!\w|[.,]\d)`, "g");

let words = {};

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

/** Return a text of the server, such as the title of a panel; numbers in it are placeholders. */
export function told(text) {
  if (Object.hasOwn(words, text)) return words[text];
  const values = [];
  const key = text.replace(PARTS, (part, kept) => (kept ? part : `{${values.push(part) - 1}}`));
  return Object.hasOwn(words, key) ? t(key, values) : text;
}

/** Return sentences one after the other; Chinese ones need no space between them. */
export function joined(...sentences) {
  return sentences.filter(Boolean).join(language() === "zh" ? "" : " ");
}
