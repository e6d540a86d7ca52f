// A grid of pictures in rows of equal height: more come as one scrolls; arrow keys go through it, Enter opens.

import { button, fill, h, icon, trouble } from "./dom.js";
import { thumbnail } from "./pictures.js";
import { percent, t } from "./words.js";

/**
 * `load(skip)` gives {items, done}; an item is {id, thumbnail, metadata, score, found}, score and found only of hits.
 * `open(index)` is called with the number of the picture in `items`.
 */
export class Grid {
  constructor(label, open) {
    this.items = [];
    this.list = h("ul.grid", { role: "list", "aria-label": label, onkeydown: (event) => this.#key(event), onfocusin: (event) => this.#focused(event) });
    this.tail = h("div.tail", {});
    this.element = h("div", {}, this.list, this.tail);
    this.open = open;
    this.watch = new IntersectionObserver((entries) => entries.at(-1).isIntersecting && this.more(), { rootMargin: "900px" });
  }

  /** Show other pictures: the first of them, and how to get more. */
  show({ items, done }, load) {
    this.load = load;
    this.items.length = 0;
    this.done = this.busy = this.asked = false;
    this.list.replaceChildren();
    fill(this.tail);
    this.#add(items, done);
  }

  /** Fetch what comes next. */
  async more(asked = false) {
    this.asked ||= asked;
    if (this.done || this.busy || (this.#weak() && !this.asked)) return;
    const load = this.load;
    this.busy = true;
    try {
      const { items, done } = await load(this.items.length);
      if (load === this.load) this.#add(items, done);
    } catch (error) {
      if (load === this.load && error.name !== "AbortError") fill(this.tail, trouble(error, () => this.more()));
    } finally {
      if (load === this.load) this.busy = false;
    }
  }

  /** Take a picture out of the grid. */
  drop(index) {
    this.items.splice(index, 1);
    this.#tiles()[index]?.parentElement.remove();
  }

  focus(index = 0) {
    this.#tiles()[index]?.focus();
  }

  #add(items, done) {
    const before = this.items.length;
    this.items.push(...items);
    this.done = done;
    items.forEach((item, i) => {
      if (item.found === false && this.items[before + i - 1]?.found) this.list.append(h("li.rest", { role: "presentation" }), h("li.weaker", { role: "presentation" }, h("span", {}, t("weaker"))));
      this.list.append(this.#tile(item, before + i === 0));
    });
    this.watch.disconnect();
    if (done) fill(this.tail);
    else if (this.#weak() && !this.asked) fill(this.tail, button("quiet", null, t("showWeaker"), () => this.more(true)));
    else {
      fill(this.tail, h("div.spinner", {}));
      this.watch.observe(this.tail);
    }
  }

  #weak() {
    return this.items.at(-1)?.found === false;
  }

  #tile(item, first) {
    const { width, height } = item.metadata ?? {};
    const ratio = Math.max(0.62, Math.min(2.1, width / height || 1));
    const name = item.id.split("/").at(-1);
    const score = item.score === undefined ? null : percent(item.score);
    const label = score ? t("hitLabel", name, score) : name;
    const tile = h(
      `button.tile${item.found === false ? ".faint" : ""}`,
      { type: "button", "aria-label": label, tabindex: first ? 0 : -1, onclick: () => this.open(this.items.indexOf(item)) },
      h("span.gap", {}, icon("picture")),
      thumbnail(item.thumbnail),
      h("span.caption", {}, h("span", {}, name), score && h("b", {}, score)),
      score && h("span.score", { style: { "--part": item.score } }),
    );
    return h("li", { style: { "--ratio": ratio.toFixed(3) } }, tile);
  }

  #tiles() {
    return [...this.list.querySelectorAll(".tile")];
  }

  #focused({ target }) {
    if (!target.matches(".tile")) return;
    for (const tile of this.list.querySelectorAll('.tile[tabindex="0"]')) tile.tabIndex = -1;
    target.tabIndex = 0;
  }

  #key(event) {
    const tiles = this.#tiles();
    const now = tiles.indexOf(document.activeElement);
    if (now < 0 || event.ctrlKey || event.metaKey || event.altKey) return;
    const goals = { ArrowRight: now + 1, ArrowLeft: now - 1, Home: 0, End: tiles.length - 1 };
    const goal = event.key === "ArrowDown" ? below(tiles, now, 1) : event.key === "ArrowUp" ? below(tiles, now, -1) : goals[event.key];
    if (goal === undefined) return;
    event.preventDefault();
    if (goal >= tiles.length - 1) this.more();
    tiles[Math.max(0, Math.min(tiles.length - 1, goal))].focus();
  }
}

/** The tile in the next row (or the one before) that lies nearest. */
function below(tiles, now, step) {
  const from = tiles[now].getBoundingClientRect();
  const middle = (from.left + from.right) / 2;
  let best = now;
  let distance = Infinity;
  let row = null;
  for (let i = now + step; tiles[i]; i += step) {
    const box = tiles[i].getBoundingClientRect();
    if (Math.abs(box.top - from.top) < 4) continue;
    row ??= box.top;
    if (Math.abs(box.top - row) > 4) break;
    const off = Math.abs((box.left + box.right) / 2 - middle);
    if (off < distance) [best, distance] = [i, off];
  }
  return best;
}
