// What pictures are recognised as: labels typed in, a label set that is kept, or a recogniser. And keeping label sets.

import { address, get, post, remove } from "./api.js";
import { askName, button, confirm, field, fill, h, pick, select, toast, trouble } from "./dom.js";
import { limits, mayWrite, models } from "./service.js";
import { unread } from "./unread.js";
import { number, percent, t } from "./words.js";

const KINDS = ["labels", "label_set", "recogniser"];
const SHOWN = 200; // labels of a set that are shown

const state = { kind: "labels", labels: [], typing: "", model: null, label_set: null, recogniser: null }; // stays over screens

/** What is chosen, as fields of the request; null while there is nothing to choose from. */
export function choice() {
  if (state.kind !== "labels") return state[state.kind] ? { [state.kind]: state[state.kind] } : null;
  const labels = typed();
  return labels.length ? { labels, ...asked() } : null;
}

const typed = () => [...new Set([...state.labels, ...split(state.typing)])].slice(0, limits().labels_per_request);
const asked = () => (state.model ? { model: state.model } : {}); // unless it is the usual one
const split = (text) => text.split(/[,;\n]/).map((one) => one.trim()).filter(Boolean);

/** `changed` is told when the choice is another. */
export class LabelPanel {
  constructor(changed) {
    this.changed = changed;
    this.sets = { label_set: [], recogniser: [] };
    this.tabs = h("div.switch", { role: "group", "aria-label": t("recognizeAs") });
    this.body = h("div.body");
    this.note = h("div", { role: "status" });
    this.element = h("aside.panel.labels", { "aria-label": t("recognizeAs") }, h("h2", {}, t("recognizeAs")), this.tabs, this.body, this.note, h("p.legend", {}, t("legend")));
    this.#draw();
  }

  /** Ask which label sets and recognisers there are. */
  async load() {
    try {
      const [{ label_sets }, { recognisers }] = await Promise.all([get("/v1/labels"), get("/v1/recognisers")]);
      this.sets = { label_set: label_sets, recogniser: recognisers };
      if (state.kind !== "labels") this.#draw(); // who types labels meanwhile is not disturbed
    } catch (error) {
      fill(this.body, trouble(error, () => this.load()));
    }
  }

  /** Tell which of these labels the model cannot read. */
  tell(model, warnings, labels) {
    const use = (name) => button("quiet", null, t("useModel", name), () => this.#use(name));
    fill(this.note, unread(warnings, model, labels, state.kind === "labels" && use));
  }

  focus() {
    this.body.querySelector("input, select")?.focus();
  }

  #draw() {
    const tab = (kind) => h("button", { type: "button", "aria-pressed": String(kind === state.kind), onclick: () => this.#choose(kind) }, t(`by.${kind}`));
    fill(this.tabs, KINDS.map(tab));
    fill(this.note);
    if (state.kind === "labels") this.#typing();
    else this.#saved(this.sets[state.kind]);
  }

  #choose(kind) {
    state.kind = kind;
    this.#draw();
    this.changed();
  }

  #use(name) {
    state.model = name === models()[0] ? null : name;
    this.#draw();
    this.changed();
  }

  #typing() {
    const chips = h("ul.labels-typed", { "aria-label": t("labels") });
    const input = h("input", { value: state.typing, placeholder: t("labelHint"), "aria-label": t("addLabel"), autocomplete: "off", enterkeyhint: "done" });
    const save = mayWrite() && button("quiet", "check", t("saveSet"), () => this.#save());
    const draw = () => {
      fill(chips, state.labels.map((label) => h("li.tag", {}, label, button("quiet.round", "close", null, () => drop(label), { label: t("removeTerm", label) }))));
      if (save) save.disabled = !typed().length;
    };
    const drop = (label) => {
      state.labels = state.labels.filter((one) => one !== label);
      draw();
      this.changed();
      input.focus();
    };
    const keep = () => {
      state.labels = typed();
      state.typing = input.value = "";
      draw();
    };
    input.oninput = () => {
      state.typing = input.value;
      if (/[,;\n]$/.test(input.value)) keep();
      draw();
      this.changed();
    };
    input.onkeydown = (event) => {
      if (event.isComposing) return;
      if (event.key === "Enter") {
        event.preventDefault();
        keep();
        this.changed();
      } else if (event.key === "Backspace" && !input.value && state.labels.length) drop(state.labels.at(-1));
    };
    draw();
    const box = h("div.box", {}, chips, input);
    box.addEventListener("click", (event) => event.target.matches("button, button *") || input.focus());
    const names = models();
    const model = names.length > 1 && field(t("model"), pick(select(names, state.model ?? names[0], { onchange: (event) => this.#use(event.target.value) })));
    fill(this.body, box, h("p.hint", {}, t("labelHelp")), model, save && h("p.actions", {}, save));
  }

  #saved(sets) {
    const kind = state.kind;
    const names = sets.map((one) => one.name);
    if (!names.includes(state[kind])) state[kind] = names[0] ?? null;
    if (!names.length) return fill(this.body, h("p.hint", {}, t(`none.${kind}`)));
    const choose = (event) => {
      state[kind] = event.target.value;
      this.#draw();
      this.changed();
    };
    const picker = select(names, state[kind], { "aria-label": t(`by.${kind}`), onchange: choose });
    const one = sets.find(({ name }) => name === state[kind]);
    const members = h("ul.labels-typed", { "aria-label": t("labels") });
    fill(this.body, pick(picker), h("p.hint", {}, told(kind, one)), members);
    if (kind === "recogniser") return fill(members, one.labels.slice(0, SHOWN).map((label) => h("li.tag", {}, label)));
    this.#members(one, members);
  }

  async #members(one, list) {
    try {
      const { members, total } = await get(address(["labels", one.name], { top: SHOWN }));
      const edit = () => {
        Object.assign(state, { kind: "labels", labels: members.map((label) => label.name), typing: "" });
        this.#draw();
        this.changed();
      };
      fill(list, members.map((label) => h("li.tag", { title: label.ko }, label.name)), total > members.length && h("li.hint", {}, t("andMore", number(total - members.length))));
      this.body.append(h("p.actions", {}, button("quiet", null, t("editAsLabels"), edit), mayWrite() && button("quiet", "trash", t("delete"), () => this.#delete(one.name))));
    } catch (error) {
      fill(list, trouble(error));
    }
  }

  async #save() {
    const labels = typed();
    const made = await askName(t("saveSet"), t("name"), t("nameHint"), t("save"), (name) => post("/v1/labels", { name, labels, ...asked() }), h("p.hint", {}, t("saveSetText", labels.length)));
    if (!made) return;
    toast(t("saved", made.name));
    Object.assign(state, { kind: "label_set", label_set: made.name });
    await this.load();
    this.tell(made.model, made.warnings, labels);
    this.changed();
  }

  async #delete(name) {
    if (!(await confirm(t("deleteSet"), t("deleteSetText", name), t("delete")))) return;
    try {
      await remove(address(["labels", name]));
      await this.load();
      this.changed();
    } catch (error) {
      this.body.prepend(trouble(error));
    }
  }
}

function told(kind, one) {
  if (kind === "label_set") return t("setFacts", number(one.labels), one.model);
  const accuracy = one.facts?.accuracy ?? one.facts?.["held out"]?.accuracy;
  return [t("recogniserFacts", number(one.labels.length), one.model), typeof accuracy === "number" && t("accuracy", percent(accuracy))].filter(Boolean).join(" · ");
}
