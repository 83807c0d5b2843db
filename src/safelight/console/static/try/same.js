// The same request for a terminal or a program: curl, httpx, and OpenAI's client.

import { element } from "../dom.js";
import { t } from "../words.js";

const FILES = { "image/png": "photo.png", "image/webp": "photo.webp", "image/gif": "photo.gif" };
const OPENAI = { edit: "edit", generate: "generate" };
const COPIED_MS = 2000;
const inShell = (text) => `'${String(text).replaceAll("'", "'\\''")}'`;
const inPython = (value) => JSON.stringify(value); // for texts and numbers, the same in both languages

/** Return three pairs of a name and a text. `needsKey` tells whether callers show a key. */
export function textsOf({ address, model, values, picture, needsKey }) {
  const file = picture ? FILES[picture.type] ?? "photo.jpg" : "";
  const asked = { url: `${address}${model.path}`, address, model, values, file, needsKey };
  return [["curl", curl(asked)], ["httpx", httpx(asked)], ["openai", openai(asked)]];
}

function curl({ url, model, values, file, needsKey }) {
  const lines = [`curl ${inShell(url)}`];
  if (needsKey) lines.push('-H "Authorization: Bearer $SAFELIGHT_KEY"');
  if (file) {
    lines.push(`-F image=@${file}`, ...Object.entries(values).map(([name, value]) => `--form-string ${inShell(`${name}=${value}`)}`));
  } else {
    lines.push("-H 'Content-Type: application/json'", `--data-raw ${inShell(JSON.stringify(values))}`);
  }
  if (model.task !== "predict") lines.push("-o image.png");
  return lines.join(" \\\n  ");
}

function httpx({ url, model, values, file, needsKey }) {
  const lines = [needsKey ? "import os\n\nimport httpx\n" : "import httpx\n"];
  lines.push("answer = httpx.post(", `    ${inPython(url)},`);
  if (file) lines.push(`    files={"image": open(${inPython(file)}, "rb")},`);
  lines.push(`    ${file ? "data" : "json"}=${dictionary(values, "    ")},`);
  if (needsKey) lines.push("    headers={\"Authorization\": f\"Bearer {os.environ['SAFELIGHT_KEY']}\"},");
  lines.push("    timeout=120,", ")", "answer.raise_for_status()");
  lines.push(model.task === "predict" ? "print(answer.json())" : 'open("image.png", "wb").write(answer.content)');
  return lines.join("\n");
}

function openai({ address, model, values, file, needsKey }) {
  if (!OPENAI[model.task]) return `# ${t("OpenAI's client has no call that recognises what an image shows.")}\n# ${t("Use curl or httpx.")}`;
  const { instruction, prompt, width, height, ...own } = values;
  const lines = [`import base64${needsKey ? "\nimport os" : ""}\n\nfrom openai import OpenAI\n`];
  lines.push(`client = OpenAI(base_url=${inPython(`${address}/v1`)}, api_key=${needsKey ? 'os.environ["SAFELIGHT_KEY"]' : '"none"'})`);
  lines.push(`answer = client.images.${OPENAI[model.task]}(`, `    model=${inPython(model.name)},`);
  if (file) lines.push(`    image=open(${inPython(file)}, "rb"),`);
  lines.push(`    prompt=${inPython(instruction ?? prompt)},`);
  if (width && height) lines.push(`    size=${inPython(`${width}x${height}`)},`);
  lines.push(`    extra_body=${dictionary(own, "    ")},`, ")");
  lines.push('open("image.png", "wb").write(base64.b64decode(answer.data[0].b64_json))');
  return lines.join("\n");
}

function dictionary(values, indent) {
  const entries = Object.entries(values).map(([name, value]) => `${indent}    ${inPython(name)}: ${inPython(value)},`);
  return entries.length ? `{\n${entries.join("\n")}\n${indent}}` : "{}";
}

/** Return the three texts as tabs with a button that copies. */
export function sameRequest(asked) {
  const texts = textsOf(asked);
  const code = element("pre", { class: "try-code", id: "try-code", role: "tabpanel", tabindex: "0" });
  const tabs = texts.map(([name], place) => element("button", { type: "button", role: "tab", "aria-controls": "try-code", onclick: () => choose(place), onkeydown: (event) => move(event, place) }, name));
  const copy = element("button", { type: "button", class: "push", onclick: copyCode }, t("Copy"));
  choose(0);
  return element("div", {},
    element("div", { class: "try-tabs" }, element("div", { role: "tablist", "aria-label": t("Language") }, tabs), copy), code);

  function choose(place) {
    code.textContent = texts[place][1];
    code.setAttribute("aria-label", texts[place][0]);
    tabs.forEach((tab, number) => {
      tab.setAttribute("aria-selected", String(number === place));
      tab.tabIndex = number === place ? 0 : -1;
    });
  }

  function move(event, place) {
    const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!by) return;
    const next = (place + by + tabs.length) % tabs.length;
    choose(next);
    tabs[next].focus();
  }

  async function copyCode() {
    try {
      await navigator.clipboard.writeText(code.textContent);
      copy.textContent = t("Copied");
    } catch {
      getSelection().selectAllChildren(code); // a browser may forbid it: then by hand
      copy.textContent = t("Press Ctrl-C");
    }
    setTimeout(() => { copy.textContent = t("Copy"); }, COPIED_MS);
  }
}
