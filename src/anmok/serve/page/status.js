// The screen "Status": what is served, how it runs, how busy it is; asked anew every two seconds while it is looked at.

import { key, setKey } from "./api.js";
import { Chart } from "./chart.js";
import { button, fill, h, trouble } from "./dom.js";
import { forget, status } from "./service.js";
import { duration, number, size, t } from "./words.js";

const EVERY = 2000; // milliseconds

/** Show it. */
export async function show(main) {
  const screen = new Status();
  fill(main, screen.element);
  await screen.ask();
  const timer = setInterval(() => document.hidden || screen.ask(), EVERY);
  return { leave: () => clearInterval(timer) };
}

class Status {
  constructor() {
    this.problem = h("div", { role: "status" });
    this.tiles = h("dl.tiles");
    this.chart = new Chart(t("throughput"), [t("pictures"), t("texts")]);
    this.columns = h("div.columns");
    this.element = h("div.status", {}, h("header.title", {}, h("h1", {}, t("status"))), this.problem, this.tiles, h("section.panel", {}, h("h2", {}, t("throughput")), this.chart.element), this.columns);
  }

  async ask() {
    try {
      const facts = await status(true);
      fill(this.problem);
      this.#draw(facts);
    } catch (error) {
      if (error.name !== "AbortError") fill(this.problem, trouble(error));
    }
  }

  #draw(facts) {
    const { throughput, models, machine } = facts;
    const queue = facts.queue ?? sum(models);
    this.chart.add([throughput.pictures_s, throughput.texts_s]);
    fill(this.tiles, [
      tile(t("picturesPerSecond"), number(throughput.pictures_s, 1), t("textsPerSecond", number(throughput.texts_s, 1))),
      tile(t("waiting"), number(queue.pictures + queue.texts), t("waitingOf", number(queue.pictures), number(queue.texts))),
      tile(t("memory"), size(facts.memory_mb * 1e6), t("memoryOf")),
      tile(t("upFor"), duration(facts.uptime_s), `anmok ${facts.version}`),
    ]);
    const limits = Object.entries(facts.limits).map(([name, value]) => [t(`limit.${name}`), name.endsWith("bytes") ? size(value) : number(value)]);
    fill(this.columns, [
      models.map(model),
      list(t("limits"), limits),
      list(t("thisService"), [
        [t("machine"), `${machine.processor} · ${t("cores", number(machine.cores))}`],
        [t("roots"), facts.roots.length ? facts.roots.join(", ") : t("noRoots")],
        [t("addresses"), t(facts.urls_allowed ? "allowed" : "notAllowed")],
        [t("keys"), t(facts.keys_required ? "needed" : "notNeeded")],
        [t("rights"), facts.scopes.map((scope) => t(`scope.${scope}`)).join(", ")],
        [t("api"), h("a", { href: "/openapi.json" }, "openapi.json")],
      ], key() && button("quiet", "key", t("forgetKey"), () => (setKey(null), forget(), location.reload()))),
    ]);
  }
}

function sum(models) {
  const count = (kind) => models.reduce((all, model) => all + (model.waiting?.[kind] ?? 0), 0);
  return { pictures: count("pictures"), texts: count("texts") };
}

const tile = (name, value, below) => h("div", {}, h("dt", {}, name), h("dd", {}, h("b", {}, value), h("small", {}, below)));

const list = (title, rows, more) => h("section.panel", {}, h("h2", {}, title), h("dl.rows", {}, rows.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value)))), more);

function model(one) {
  const rows = one.loaded
    ? [[t("picturesRun"), runs(one.image)], [t("textsRun"), runs(one.text)], [t("dimension"), number(one.dimension)], [t("memory"), size(one.megabytes * 1e6)]]
    : [[t("state"), t("notLoaded")]];
  return h("section.panel", {}, h("header", {}, h("h2", {}, one.name), h(`span.state${one.loaded ? ".on" : ""}`, {}, t(one.loaded ? "loaded" : "asleep"))), h("dl.rows", {}, rows.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value)))));
}

/** What is near to 1 is not shown as 1. */
const below = (cosine) => Math.floor(1e5 * cosine) / 1e5;

/** How a tower runs; below, what was measured of it. */
function runs({ runs, settled, fidelity, speedup }) {
  const told = [speedup && t("faster", number(speedup, 1)), fidelity && t("fidelity", number(below(fidelity.mean), 5)), !settled && t("unsettled")].filter(Boolean);
  return [runs, told.length > 0 && h("small", {}, told.join(" · "))];
}
