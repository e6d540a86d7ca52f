// The screen "Recognize": what pictures show, among labels typed here, a saved label set, or what a recogniser learned.

import { post } from "./api.js";
import { button, debounced, fill, h, icon, meter, progress, trouble } from "./dom.js";
import { LabelPanel, choice } from "./labels.js";
import { chooser, prepared, thumbnail } from "./pictures.js";
import { limits } from "./service.js";
import { percent, t } from "./words.js";

const TOP = 5;
const AT_ONCE = 8; // pictures in one request: results come in soon

const shown = []; // {picture, name, url or thumbnail, result}; stays while other screens are shown

/** Show it; `given` is a picture of a collection to recognise. */
export async function show(main, { given }) {
  const screen = new Recognize();
  fill(main, h("h1.unseen", {}, t("recognize")), screen.element);
  if (given) screen.add([{ picture: { collection: given.collection, id: given.item.id }, name: given.item.id.split("/").at(-1), thumbnail: given.item.thumbnail }]);
  const known = choice();
  screen.run();
  screen.panel.load().then(() => known ?? screen.run());
  return { files: (files) => screen.files(files), focus: () => screen.panel.focus() };
}

class Recognize {
  constructor() {
    const soon = debounced(300, () => this.run());
    const files = chooser((chosen) => this.files(chosen));
    const choose = () => files.click();
    this.panel = new LabelPanel(soon);
    this.note = h("div.note-place", { role: "status" });
    this.cards = h("ul.cards", { role: "list", "aria-label": t("pictures") });
    this.drop = h("div.drop", {}, icon("picture"), h("p", {}, h("b", {}, t("dropHere")), h("span", {}, t("dropOrPaste"))), button("primary", "upload", t("choosePictures"), choose), files);
    this.clear = button("quiet", "close", t("clearAll"), () => (shown.splice(0).forEach(forget), this.run()));
    this.element = h("div.recognize", {}, this.panel.element, h("section.results", { "aria-label": t("results") }, this.drop, h("div.line", {}, this.clear), this.note, this.cards));
  }

  /** Pictures from this computer. */
  async files(files) {
    const made = await Promise.all(files.map(async (file) => ({ picture: await prepared(file), name: file.name || t("picture"), url: URL.createObjectURL(file) })));
    this.add(made);
    this.run();
  }

  add(items) {
    shown.unshift(...items);
  }

  /** Recognise all that is shown; what still runs is given up. */
  async run() {
    this.asked?.abort();
    const { signal } = (this.asked = new AbortController());
    const wanted = choice();
    this.clear.hidden = !shown.length;
    this.drop.classList.toggle("low", shown.length > 0);
    this.cards.classList.toggle("single", shown.length === 1);
    for (const item of shown) item.card ??= h("li.card");
    if (!wanted) shown.forEach((item) => (item.result = null));
    this.#draw(Boolean(wanted));
    fill(this.note, shown.length && !wanted ? h("p.calm", {}, icon("eye"), t("giveLabels")) : null);
    if (wanted?.labels && !shown.length) this.panel.tell(null, [], []);
    if (!wanted || !shown.length) return;
    this.cards.classList.add("busy");
    try {
      const batch = Math.min(AT_ONCE, limits().pictures_per_request);
      for (let i = 0; i < shown.length; i += batch) {
        const part = shown.slice(i, i + batch);
        const { results, model, warnings } = await post("/v1/classify", { pictures: part.map((item) => item.picture), ...wanted, top: TOP }, signal);
        part.forEach((item, at) => (item.result = results[at]));
        this.#draw(true);
        if (wanted.labels) this.panel.tell(model, warnings, wanted.labels);
      }
    } catch (error) {
      if (signal.aborted) return;
      fill(this.note, trouble(error, () => this.run()));
    }
    this.cards.classList.remove("busy");
  }

  #draw(asked) {
    for (const item of shown) fill(item.card, picture(item), button("round.veil.close", "close", null, () => this.#drop(item), { label: t("removePicture", item.name) }), outcome(item, asked));
    fill(this.cards, shown.map((item) => item.card));
  }

  #drop(item) {
    shown.splice(shown.indexOf(item), 1);
    forget(item);
    this.run();
  }
}

function picture(item) {
  if (!item.image) {
    const image = (item.image = item.url ? h("img", { src: item.url, alt: item.name }) : thumbnail(item.thumbnail, item.name));
    image.addEventListener("load", () => image.style.setProperty("--ratio", image.naturalWidth / image.naturalHeight || 1));
  }
  return h("div.pane", {}, item.image);
}

function outcome({ name, result }, asked) {
  if (!result) return h("div.outcome", {}, h("p.name", {}, name), asked && progress(null, t("working")));
  if (result.error) return h("div.outcome", {}, h("p.name", {}, name), trouble(result.error));
  const [best] = result.predictions;
  const verdict = result.found ? h("h2", {}, best.label) : h("h2.none", {}, t("noneOfThese"));
  return h("div.outcome", {}, [
    h("p.name", {}, name),
    verdict,
    h("ol.bars", { "aria-label": t("labels") }, result.predictions.map((one) => bar(one, result.found && one === best))),
  ]);
}

function bar({ label, probability, match }, best) {
  const about = t("barLabel", label, percent(probability), percent(match));
  return h(`li.bar-row${best ? ".best" : ""}`, { title: about }, h("span.label", {}, label), h("b", {}, percent(probability)), meter(probability, about), h(`span.fit${match >= 0.5 ? ".fits" : ""}`, {}, t("fits", percent(match))));
}

function forget(item) {
  if (item.url) URL.revokeObjectURL(item.url);
}
