// The card of one service on the page Act: its traffic, quality, model, canary, shadow and rollout, each with its buttons.

import { choice, field } from "./dialog.js";
import { element, fetchJson, messageOf } from "./dom.js";
import { nameOf, shortOf } from "./services.js";
import { moment } from "./units.js";
import { capital, joined, language, t, told } from "./words.js";

const SECONDS_IN_MS = 1000;
const STATES = {
  ready: t("ready"), asleep: t("asleep"), waking: t("waking"), draining: t("draining"), off: t("off"), loading: t("loading"), failed: t("failed"),
};
const VERDICTS = { // of the canary, and of copies
  good: t("good"), slow: t("slow"), wrong: t("wrong"), hung: t("hung"), dead: t("dead"), unknown: t("unknown"),
  better: t("better"), worse: t("worse"), different: t("different"), undecided: t("undecided"),
};
const ROLLOUTS = { none: t("none"), running: t("running"), paused: t("paused"), done: t("done"), rolled_back: t("rolled back"), aborted: t("aborted") };
const DOTS = { ready: "good", asleep: "rest", waking: "rest", draining: "rest" };

export class ServiceCard {
  constructor(view, address, number) {
    this.view = view;
    this.number = number;
    this.address = address;
    this.last = "";
    this.reading = false;
    this.dot = element("span", { class: "dot", "aria-hidden": "true" });
    this.word = element("span", { class: "faint" }, t("reading …"));
    this.body = element("div", { class: "act-rows", role: "status", "aria-live": "off" });
    this.name = element("h2", { class: "act-address" });
    this.second = element("span", { class: "faint act-address" });
    this.node = element("section", { class: "card act-card" },
      element("div", { class: "title" }, this.dot, this.name, this.second, this.word),
      this.body);
    this.rename();
  }

  get where() {
    return nameOf(this.view.services, this.number);
  }

  /** Write the name of the service, and beside it its address. */
  rename() {
    const short = shortOf(this.address);
    const [name] = this.where.split(" · ");
    this.name.textContent = name;
    this.second.textContent = name === short ? "" : short;
    this.node.setAttribute("aria-label", name === short ? short : `${name}, ${short}`);
  }

  async refresh(afterAction) {
    if (this.reading) {
      this.again ||= afterAction; // what is being read now may be older
      return;
    }
    this.reading = true;
    try {
      do {
        this.again = false;
        this.fill(await fetchJson("/data/state", { service: this.number }, this.view.ended.signal));
      } while (this.again);
    } catch (error) {
      if (error.name !== "AbortError") this.fill({ problem: messageOf(error), parts: {}, missing: {} });
    } finally {
      this.reading = false;
    }
  }

  fill(state) {
    const shown = JSON.stringify(state);
    if (shown === this.last) return;
    this.last = shown;
    const word = summary(state);
    this.word.textContent = word.text;
    this.dot.className = `dot ${word.dot}`;
    const focused = this.body.contains(document.activeElement) ? document.activeElement.dataset.act : "";
    this.body.replaceChildren(...(state.problem ? [element("p", { class: "act-problem", role: "alert" }, told(state.problem))] : this.rows(state)));
    if (focused) (this.body.querySelector(`[data-act="${focused}"]`) ?? this.body.querySelector("button:not(:disabled)"))?.focus();
  }

  rows({ parts, missing }) {
    return [
      this.traffic(parts.drain, missing),
      this.level(parts.degradation, missing),
      this.model(parts, missing),
      this.canary(parts.canary, missing),
      this.shadow(parts.shadow, missing),
      this.rollout(parts.rollout, missing),
    ];
  }

  button(name, more) {
    return this.view.button(name, this.number, () => this.where, more);
  }

  traffic(drain, { drain: why, ready }) {
    const name = t("Traffic");
    if (!drain) return this.view.row(name, [faint(say(why))]);
    const { requests } = drain;
    const left = requests ? t(requests > 1 ? "{count} requests wait or run." : "{count} request waits or runs.", { count: requests }) : t("No request waits or runs.");
    if (drain.draining) {
      const drained = drain.by ? t("Drained by {name}", { name: drain.by }) : t("Drained");
      return this.view.row(name, [strong(drained), clock(drain.since), faint(left)], [this.button("end_drain")]);
    }
    return this.view.row(name, [strong(t(ready ? "Not ready" : "Takes requests")), faint(ready ? say(ready) : left)], [this.button("drain")]);
  }

  level(found, { degradation: why }) {
    const name = t("Quality");
    if (!found) return this.view.row(name, [faint(say(why))]);
    const active = found.levels.filter(({ level }) => level === 0 ? found.level === 0 : level <= found.level).map(({ meaning }) => told(meaning));
    const textOf = ({ level, meaning }) => t(level > 1 ? "{level} · also {meaning}" : "{level} · {meaning}", { level, meaning: told(meaning) });
    const form = () => ({
      fields: [field(t("Level"), choice("level", found.levels.filter(({ level }) => level <= found.highest).map((each) => [String(each.level), textOf(each)]), String(Math.min(found.level, found.highest))))],
      parameters: ({ level }) => ({ level: Number(level) }),
    });
    const pinned = found.by ? t("pinned by {name}", { name: found.by }) : t("pinned");
    return this.view.row(name,
      [strong(t("Level {level}", { level: found.level })), badge(found.pinned ? pinned : t("by the load"), found.pinned), faint(sentences([active.join(t(", "))]))],
      [found.pinned ? this.button("release") : null, this.button("pin", { form })]);
  }

  model({ ready, drain }, missing) {
    const name = t("Model");
    const status = drain?.model ?? ready?.status;
    if (status === "asleep") return this.view.row(name, [strong(t("Asleep")), faint(t("The next request wakes it."))], [this.button("wake")]);
    if (status === "waking") return this.view.row(name, [strong(t("Waking")), faint(t("It is being loaded."))], [this.button("wake", { usable: false })]);
    const loads = !ready && !drain?.draining;
    return this.view.row(name, [strong(t(loads ? "Not ready" : "Awake")), faint(loads ? say(missing.ready) : t("It may sleep while nobody needs it."))], [this.button("sleep", { usable: !loads })]);
  }

  canary(found, { canary: why }) {
    const name = t("Canary");
    if (!found) return this.view.row(name, [faint(say(why))]);
    if (!found.on) return this.view.row(name, [strong(t("Off")), faint(t("SAFELIGHT_CANARY_SECONDS is 0."))], [this.button("canary", { usable: false })]);
    const [worst] = [...found.workers].sort((a, b) => severity(b.verdict) - severity(a.verdict));
    const said = [
      worst?.ready ? say(worst.why) : t("The worker is not loaded"), worst?.enrolling ? t("Enrolling: {progress}.", { progress: say(worst.enrolling) }) : "",
      found.in_service ? "" : t("Out of service."), found.waits ? t("A run waits for an idle worker.") : "",
    ];
    return this.view.row(name, [strong(verdictOf(worst?.verdict ?? "unknown"), severity(worst?.verdict) > 1), faint(sentences(said))], [this.button("canary"), this.button("enrol")]);
  }

  shadow(found, { shadow: why }) {
    const name = t("Shadow");
    if (!found) return this.view.row(name, [strong(capital(t("none"))), faint(say(why))]);
    const verdict = typeof found.verdict === "string" ? found.verdict : "undecided";
    const pairs = t("{pairs} of {limit} pairs of {model}.", { pairs: found.pairs, limit: found.limit, model: found.second });
    return this.view.row(name, [strong(verdictOf(verdict), verdict === "worse"), faint(sentences([pairs, say(found.problem), say(found.ended)]))]);
  }

  rollout(found, { rollout: why, shadow }) {
    const name = t("Rollout");
    if (!found) return this.view.row(name, [strong(capital(t("none"))), faint(why === shadow ? t("It needs a second model.") : say(why))]);
    const lasts = found.status === "running" || found.status === "paused";
    const isActive = lasts || found.status === "done";
    const said = isActive
      ? t("{percent} % of the callers get {model}.", { percent: found.percent, model: found.second })
      : t("The second model, {model}, is {state}.", { model: found.second, state: STATES[found.state] ?? found.state });
    const buttons = isActive
      ? [lasts ? this.button(found.status === "paused" ? "rollout_resume" : "rollout_pause") : null, lasts ? this.button("rollout_promote") : null, this.button("rollout_abort")]
      : [this.button("rollout_start", { form: () => planForm(found), usable: found.state !== "failed" })];
    return this.view.row(name, [strong(capital(ROLLOUTS[found.status] ?? found.status), found.status === "rolled_back"), faint(sentences([said, say(found.missing), say(found.problem)]))], buttons);
  }
}

function planForm({ second }) {
  return {
    fields: [
      field(t("Shares of the callers, in percent, rising"), element("input", { name: "steps", required: true, maxlength: "80", pattern: "\\s*\\d+(\\s*,\\s*\\d+)*\\s*", title: t("such as 5, 25, 50, 100"), value: "5, 25, 50, 100" })),
      field(t("Requests of the second model that each step needs"), element("input", { name: "least", type: "number", required: true, min: "1", max: "100000", value: "50" })),
    ],
    parameters: ({ steps, least }) => ({ model: second, steps: steps.split(",").map(Number), least: Number(least) }),
  };
}

/** Return the state of a service in a word, and the class of its dot. */
function summary({ problem: why, parts, missing }) {
  if (why) return { text: t("not reached"), dot: "bad" };
  if (parts.drain?.draining) return { text: STATES.draining, dot: DOTS.draining };
  const status = parts.ready?.status;
  if (status) return { text: STATES[status] ?? status, dot: DOTS[status] ?? "good" };
  return { text: t(missing.ready ? "not ready" : "unknown"), dot: "bad" };
}

const strong = (text, isBad = false) => element("strong", { class: isBad ? "bad" : null }, text);
const faint = (text) => element("span", { class: "second" }, text ?? "");
const badge = (text, isOn) => element("span", { class: `badge${isOn ? " firing" : ""}` }, text);
const severity = (verdict) => ({ good: 0, unknown: 1, slow: 2, wrong: 4, hung: 4, dead: 4 })[verdict] ?? 1;
const verdictOf = (name) => capital(VERDICTS[name] ?? name);
const END = /[.!?。！？]$/;
const say = (text) => told(String(text ?? ""));

/** Return texts as sentences, one after the other. */
function sentences(texts) {
  const stop = language() === "zh" ? "。" : ".";
  const written = texts.map((text) => capital(String(text ?? "").trim())).filter(Boolean);
  return joined(...written.map((text) => (END.test(text) ? text : `${text}${stop}`)));
}

function clock(seconds) {
  const { local, utc } = moment(seconds);
  return element("time", { class: "second", datetime: new Date(seconds * SECONDS_IN_MS).toISOString(), title: utc }, t("since {time}", { time: local }));
}
