// The texts of the pages in the viewer's language. The English text is the key of its translation.

export const LANGUAGES = [["en", "English"], ["zh", "中文"]];
const KEPT = "language";
const UNITS = "%|ms|s|min|m|h|d|days|B|KiB|MiB|GiB|TiB|°C";
// As safelight.translation: a number with its unit is a placeholder, code is not touched.
const PARTS = new RegExp(String.raw`(\{\{[^{}]*\}\}|${"`[^`]*`"})|(?<![\w.])\d+(?:[.,]\d+)*(?:e[+-]?\d+)?(?: ?(?:${UNITS}))?(?!\w|[.,]\d)`, "g");

// As safelight.translation: where a finished text has a value, and what bounds the work.
const HOLE = /(\{\{[^{}]*\}\}|\{\w+\})/;
const SENTENCES = /(?<=\.) (?=[A-Za-z`])/;
const NUMBERS = /^\{\d+\}(?: \{\d+\})*$/;
const BORDER = /^(?:[一-鿿][0-9A-Za-z]|[0-9A-Za-z%][一-鿿])$/;
const LEAST_LETTERS = 5;
const MOST_WORDS_OF_NOUN = 4;
const MOST_CHARACTERS = 2000;
const MOST_LEVELS = 12;

// What the server says, also with values, and what only the pages show.
let words = { said: {}, shown: {} };
let templates = null;

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
  return known(text, words.shown) ?? known(text, words.said) ?? text;
}

function known(text, phrases) {
  return Object.hasOwn(phrases, text) ? phrases[text] : null;
}

/** Return a text of a page. `{name}` in it stands for a value. */
export function t(text, values = {}) {
  return filled(translated(text), new Map(Object.entries(values).map(([name, value]) => [`{${name}}`, String(value)])));
}

/**
 * Return a finished text of the server: the title of a panel, a finding, an error. Values in it are
 * translated too, if a server says them. A text that nobody knows is translated in sentences and clauses.
 * As safelight.translation.told; no name that a user chose belongs here.
 */
export function told(text) {
  if (language() === "en" || Array.from(text.slice(0, 2 * MOST_CHARACTERS + 1)).length > MOST_CHARACTERS) return text;
  return whole(text, words.shown) ?? part(text, MOST_LEVELS);
}

/** Return a text or a part of one: what a server says. */
function part(text, levels) {
  if (!levels || !text) return text;
  const own = whole(text, words.said);
  if (own !== null) return own;
  for (const { parts, holes, translation } of candidates(text)) {
    const found = between(parts, text);
    if (!found) continue;
    const values = new Map(found.map((value, place) => [holes[place], part(value, levels - 1)]));
    return filled(translation, values);
  }
  return inParts(text, levels);
}

/** Return a text that nobody knows in sentences, or in clauses. */
function inParts(text, levels) {
  const sentences = text.split(SENTENCES);
  const stop = text.indexOf("; ");
  if (sentences.length === 1 && stop < 0) return text;
  const own = (sentences.length > 1 ? sentences : [text.slice(0, stop), text.slice(stop + 2)]).map((each) => part(each, levels - 1));
  if (sentences.length === 1) return own.join("；");
  return own.join(own.every((each) => each.endsWith("。")) ? "" : " ");
}

/** Return a text whose only values are numbers; null if nobody knows it. */
function whole(text, phrases) {
  const values = [];
  const key = text.replace(PARTS, (piece, kept) => (kept ? piece : `{${values.push(piece) - 1}}`));
  const own = values.length && "{0} s" in phrases && NUMBERS.test(key) ? key : known(key, phrases);
  return own && filled(own, new Map(values.map((value, place) => [`{${place}}`, measured(value, phrases)])));
}

/** Return a number with its unit as the language writes it, such as `5s` as `5 s`. */
function measured(value, phrases) {
  const [number] = value.match(/^[\d.,e+-]*\d/) ?? [""];
  const unit = `{0}${value.slice(number.length)}`;
  return number ? (known(unit, phrases) ?? unit).replace("{0}", number) : value;
}

/** Return a text with values. A Chinese text has a space before and after a number, a unit and a name. */
function filled(text, values) {
  const pieces = text.split(HOLE).map((piece) => values.get(piece) ?? piece);
  return pieces.reduce((one, other) => (BORDER.test(one.slice(-1) + other.slice(0, 1)) ? `${one} ${other}` : one + other));
}

/** Return the values between the parts of a template; null if they are not there. No way back: the time is linear. */
function between(parts, text) {
  const [first, last] = [parts[0], parts.at(-1)];
  const end = text.length - last.length;
  let place = first.length;
  if (place > end || !text.startsWith(first) || !text.endsWith(last)) return null;
  const values = [];
  for (const piece of parts.slice(1, -1)) {
    const found = text.indexOf(piece, place);
    if (found < 0 || found + piece.length > end) return null;
    values.push(text.slice(place, found));
    place = found + piece.length;
  }
  values.push(text.slice(place, end));
  return values.some((value) => SENTENCES.test(value)) ? null : values; // each sentence is told on its own
}

/** Return the templates that begin or end as a text does, the longest first. */
function candidates(text) {
  templates ??= templatesOf(words.said);
  const space = text.indexOf(" ");
  const places = [`${space < 0 ? text : text.slice(0, space)} `, ` ${text.slice(text.lastIndexOf(" ") + 1)}`, ""];
  return places.flatMap((place) => templates.get(place) ?? []).sort((one, other) => one.rank - other.rank);
}

/** Return the templates by their first word, or else their last one, or else by nothing. */
function templatesOf(phrases) {
  const found = [];
  for (const [key, translation] of Object.entries(phrases)) {
    const pieces = key.split(HOLE);
    const parts = pieces.filter((_, place) => place % 2 === 0);
    const letters = parts.join("");
    if (parts.length < 2 || letters.replace(/[^\p{L}]/gu, "").length < LEAST_LETTERS) continue;
    found.push({ parts, holes: pieces.filter((_, place) => place % 2), translation, length: letters.length });
  }
  found.sort((one, other) => isNoun(one.parts) - isNoun(other.parts) || other.length - one.length);
  const places = new Map();
  for (const [rank, template] of found.entries()) {
    const place = sortedBy(template.parts);
    places.set(place, [...(places.get(place) ?? []), { rank, ...template }]);
  }
  return places;
}

/** Return whether a template names a thing, such as `the memory of {0}`: a value in others. */
function isNoun(parts) {
  return parts[0].startsWith("the ") && !parts.at(-1) && parts.join(" ").trim().split(/\s+/).length <= MOST_WORDS_OF_NOUN;
}

function sortedBy(parts) {
  const [first, last] = [parts[0], parts.at(-1)];
  if (first.indexOf(" ") > 0) return `${first.slice(0, first.indexOf(" "))} `;
  const space = last.lastIndexOf(" ");
  return space >= 0 && space < last.length - 1 ? last.slice(space) : "";
}

/** Return sentences one after the other; Chinese ones need no space between them. */
export function joined(...sentences) {
  return sentences.filter(Boolean).join(language() === "zh" ? "" : " ");
}

/** Return a text with a capital first letter. */
export function capital(text) {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
