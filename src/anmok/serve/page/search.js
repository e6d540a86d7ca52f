// The screen "Search": words, pictures and sums of both over a collection; without a query, the collection itself.

import { address, get, post } from "./api.js";
import { button, debounced, empty, fill, h, icon, pick, select, toast, trouble } from "./dom.js";
import { filterPanel, told, whereOf } from "./filters.js";
import { Grid } from "./grid.js";
import { chooser, prepared } from "./pictures.js";
import { collections, mayWrite } from "./service.js";
import { asked, chip, termsOf } from "./terms.js";
import { unread } from "./unread.js";
import { view } from "./viewer.js";
import { number, t } from "./words.js";

const PAGE = 60; // pictures fetched at once
const DEEPEST = 1000; // hits; nobody looks further
const MOST_TERMS = 16;

const state = { collection: null, text: "", terms: [], conditions: [] }; // stays while other screens are shown

/** Show it. `go(screen, …)` leaves for another one. */
export async function show(main, { collection, q }, go) {
  const { collections: found } = await collections();
  const known = found.map((one) => one.name);
  if (!known.length) return fill(main, none(go));
  if (collection && known.includes(collection)) choose(collection);
  if (!known.includes(state.collection)) choose(found.toSorted((one, other) => other.pictures - one.pictures)[0].name);
  if (q !== undefined) state.text = q;
  const screen = new Search(found, go);
  fill(main, h("h1.unseen", {}, t("search")), screen.element);
  screen.run();
  return { files: (files) => screen.files(files), focus: () => screen.input.select(), escape: () => screen.clear() };
}

/** Forget the query: a fresh start. */
export const reset = () => Object.assign(state, { text: "", terms: [], conditions: [] });

/** Start a search by a picture that a collection has. */
export function searchBy(collection, item) {
  choose(collection);
  Object.assign(state, { text: "", terms: [stored(collection, item, 1)] });
}

function choose(collection) {
  if (collection !== state.collection) Object.assign(state, { collection, conditions: [] });
}

const stored = (collection, item, weight) => ({ picture: { collection, id: item.id }, src: item.thumbnail, weight });

class Search {
  constructor(found, go) {
    this.found = found;
    this.go = go;
    this.soon = debounced(220, () => this.run());
    const type = () => {
      state.text = this.input.value;
      this.#terms();
      this.soon();
    };
    this.input = h("input", { type: "search", value: state.text, placeholder: t("searchHint"), "aria-label": t("search"), autocomplete: "off", spellcheck: "false", enterkeyhint: "search", oninput: type, onkeydown: (event) => this.#pressed(event) });
    this.chips = h("ul.chips", { "aria-label": t("terms") });
    this.active = h("span.active");
    this.count = h("p.count", { role: "status" });
    this.note = h("div.note-place", { role: "status" });
    this.caution = h("div", { role: "status" });
    this.panel = h("div");
    this.grid = new Grid(t("pictures"), (index) => this.#open(index));
    this.more = button("quiet", "filter", t("filters"), () => this.#filters(), { "aria-expanded": "false", "aria-controls": "filters" });
    const files = chooser((chosen) => this.files(chosen));
    const picker = select(found.map((one) => one.name), state.collection, { "aria-label": t("collection"), onchange: (event) => this.#switch(event.target.value) });
    this.combine = button("quiet.round", "plus", null, () => this.#keep(), { label: t("combine") });
    this.element = h("div.search", {}, [
      h("div.head", {}, [
        h("div.bar", { role: "search" }, icon("search"), this.input, this.combine, button("quiet.round", "picture", null, () => files.click(), { label: t("searchByPicture") }), files),
        this.chips,
        this.caution,
        h("div.line", {}, pick(picker, "stack"), this.more, this.active, this.count),
        this.panel,
      ]),
      this.note,
      this.grid.element,
    ]);
    this.#terms();
    this.#conditions();
  }

  /** Pictures to search by. */
  async files(files) {
    for (const file of files.slice(0, MOST_TERMS - state.terms.length)) {
      const term = { picture: await prepared(file), src: URL.createObjectURL(file), weight: 1 };
      state.terms.push(term);
    }
    this.#terms();
    this.run();
  }

  /** Forget the query. */
  clear() {
    if (!state.text && !state.terms.length) return;
    Object.assign(state, { text: "", terms: [] });
    this.input.value = "";
    this.#terms();
    this.run();
  }

  /** Search, and show what was found; a search that still runs is given up. */
  async run() {
    this.asked?.abort();
    const { signal } = (this.asked = new AbortController());
    const body = this.#body();
    const query = new URLSearchParams({ c: state.collection, ...(state.text && { q: state.text }) });
    history.replaceState(null, "", `#/search?${query}`);
    this.element.classList.add("busy");
    try {
      const load = body ? (skip) => hits(body, skip, signal) : (skip) => listed(skip, signal);
      const first = await load(0);
      this.grid.show(first, load);
      this.#tell(first, Boolean(body));
    } catch (error) {
      if (signal.aborted) return;
      fill(this.note, trouble(error, () => this.run()));
      this.count.textContent = "";
    }
    this.element.classList.remove("busy");
  }

  #body() {
    const text = state.text.trim();
    const where = whereOf(state.conditions);
    if (!text && !state.terms.length) return null;
    const query = state.terms.length ? { terms: [...state.terms, ...termsOf(text)].map(asked) } : { query: text };
    return { collection: state.collection, ...query, where };
  }

  #words() {
    return [...state.terms, ...termsOf(state.text)].map((term) => term.text);
  }

  #tell(first, searched) {
    const total = first.total ?? this.found.find((one) => one.name === state.collection).pictures;
    const clear = first.items.filter((item) => item.found).length;
    const all = clear === first.items.length && !first.done;
    this.count.textContent = !searched ? t("pictureCount", number(total)) : clear ? t("standOutCount", number(clear), all) : "";
    const used = this.found.find((one) => one.name === state.collection).model;
    const move = (model) => mayWrite() && button("quiet", "swap", t("moveTo", model), () => this.go(`collections/${encodeURIComponent(state.collection)}`));
    fill(this.caution, unread(first.warnings ?? [], used, this.#words(), move));
    const nothing = state.conditions.length ? empty("filter", t("nothingHere"), t("nothingFiltered")) : empty("picture", t("nothingHere"), t("nothingYet"), mayWrite() && button("primary", "upload", t("addPictures"), () => this.go(`collections/${encodeURIComponent(state.collection)}`)));
    const weak = h("p.calm", {}, icon("eye"), h("span", {}, h("b", {}, t("nothingStandsOut")), " ", t("nearestShown")));
    fill(this.note, !first.items.length ? nothing : searched && !clear ? weak : null);
  }

  #pressed(event) {
    if (event.isComposing) return; // Enter ends a Hangul syllable first
    if (event.key === "Enter") {
      event.preventDefault();
      if (event.shiftKey) this.#keep();
      else this.run();
    } else if (event.key === "ArrowDown") {
      event.preventDefault();
      this.grid.focus();
    } else if (event.key === "Backspace" && !this.input.value && state.terms.length) {
      state.terms.pop();
      this.#terms();
      this.run();
    }
  }

  /** The words in the field become terms, and the field is free for others. */
  #keep() {
    const terms = termsOf(state.text);
    if (!terms.length) {
      toast(t("combineHint"));
      this.input.focus();
      return;
    }
    state.terms.push(...terms.slice(0, MOST_TERMS - state.terms.length));
    state.text = this.input.value = "";
    this.#terms();
    this.run();
    this.input.focus();
  }

  #terms() {
    const alone = state.terms.length + (state.text.trim() ? 1 : 0) < 2;
    this.combine.hidden = !state.text.trim();
    this.chips.hidden = !state.terms.length;
    fill(this.chips, state.terms.map((term) => chip(term, { alone, changed: this.soon, gone: () => this.#gone(term) })));
  }

  #gone(term) {
    state.terms.splice(state.terms.indexOf(term), 1);
    this.#terms();
    this.run();
    this.input.focus();
  }

  #switch(collection) {
    choose(collection);
    fill(this.panel);
    this.#conditions();
    this.run();
  }

  #filters() {
    const open = !this.panel.firstChild;
    const changed = () => (this.#conditions(), this.run());
    fill(this.panel, open && filterPanel(state.collection, state.conditions, changed));
    this.more.setAttribute("aria-expanded", open);
  }

  #conditions() {
    this.more.classList.toggle("on", state.conditions.length > 0);
    const drop = (one) => () => {
      state.conditions.splice(state.conditions.indexOf(one), 1);
      if (this.panel.firstChild) this.#filters(), this.#filters();
      this.#conditions();
      this.run();
    };
    fill(this.active, state.conditions.map((one) => h("span.tag", {}, told(one), button("quiet.round", "close", null, drop(one), { label: t("removeFilter", told(one)) }))));
  }

  async #open(index) {
    const { collection } = state;
    const like = (item) => {
      searchBy(collection, item);
      this.input.value = "";
      scrollTo({ top: 0 });
      this.#terms();
      this.run();
    };
    const term = (item, weight) => {
      if (weight < 0 && !state.terms.length && !state.text.trim()) return toast(t("nothingToSubtractFrom"));
      state.terms.push(stored(collection, item, weight));
      this.#terms();
      this.run();
    };
    const at = await view(collection, this.grid.items, index, { like, term, more: () => this.grid.more(), recognize: (item) => this.go("recognize", { collection, item }), removed: (item, i) => this.grid.drop(i) });
    if (at !== null) this.grid.focus(at);
  }
}

async function hits(body, skip, signal) {
  const answer = await post("/v1/search", { ...body, skip, top: PAGE }, signal);
  return { items: answer.hits, warnings: answer.warnings, done: answer.hits.length < PAGE || skip + PAGE >= DEEPEST };
}

async function listed(skip, signal) {
  const where = whereOf(state.conditions);
  const { total, pictures } = await get(address(["collections", state.collection, "pictures"], { skip, top: PAGE, where: where && JSON.stringify(where) }), signal);
  return { total, items: pictures, done: skip + pictures.length >= total };
}

function none(go) {
  return empty("stack", t("noCollections"), t("noCollectionsText"), mayWrite() && button("primary", "plus", t("newCollection"), () => go("collections")));
}
