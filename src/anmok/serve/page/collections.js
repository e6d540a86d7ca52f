// The screen "Collections": all of them, and a new one.

import { address, get, post } from "./api.js";
import { askName, button, empty, field, fill, h, icon, pick, select } from "./dom.js";
import { thumbnail } from "./pictures.js";
import { collections, mayWrite, models, status } from "./service.js";
import { number, size, t } from "./words.js";

const COVER = 4; // pictures on a card

/** Show it. */
export async function show(main, _, go) {
  const [found] = await Promise.all([collections(), status()]);
  const add = mayWrite() && button("primary", "plus", t("newCollection"), () => create(go));
  if (!found.length) return fill(main, h("h1.unseen", {}, t("collections")), empty("stack", t("noCollections"), t("noCollectionsText"), add));
  fill(main, h("header.title", {}, h("h1", {}, t("collections")), add), h("ul.shelf", { role: "list" }, found.map((one) => h("li", {}, card(one)))));
  return { focus: () => main.querySelector(".shelf a")?.focus() };
}

async function create(go) {
  const names = models();
  const picker = select(names, names[0]);
  const extra = names.length > 1 && field(t("model"), pick(picker));
  const send = (name) => post("/v1/collections", { name, model: picker.value || null });
  const made = await askName(t("newCollection"), t("name"), t("nameHint"), t("create"), send, extra);
  if (made) go(`collections/${encodeURIComponent(made.name)}`);
}

function card(one) {
  const cover = h("div.cover", {}, icon("stack"));
  if (one.pictures)
    get(address(["collections", one.name, "pictures"], { top: COVER })).then(
      ({ pictures }) => fill(cover, pictures.map((picture) => thumbnail(`${picture.thumbnail}&side=240`))),
      () => {},
    );
  const facts = [t("pictureCount", number(one.pictures)), one.failed && t("failedCount", number(one.failed))].filter(Boolean).join(" · ");
  return h("a.card", { href: `#/collections/${encodeURIComponent(one.name)}` }, cover, h("div.words", {}, h("h2", {}, one.name), h("p", {}, facts), h("p.hint", {}, `${one.model} · ${size(one.bytes)}`)));
}
