// One picture, large: what is known of it, what is like it, and what can be done with it.

import { address, blob, key, post, remove } from "./api.js";
import { button, confirm, fill, h, icon, meter, toast, trouble } from "./dom.js";
import { thumbnail } from "./pictures.js";
import { mayWrite } from "./service.js";
import { moment, number, percent, size, t } from "./words.js";

const TWIN = 0.97; // cosine from which on two pictures are nearly the same, as in the API
const ALIKE = 12;
const HIDDEN = new Set(["path", "name", "width", "height", "bytes", "mtime", "hash"]); // told in other words, or not at all

/**
 * Show `items[index]` of a collection; left and right go through `items`, `more()` fetches further ones.
 * `does`: like(item), term(item, weight), recognize(item), removed(item): what the screen behind it does; all may be
 * missing. Resolves, once it is closed, to the number of the picture shown last; to null if one of these was done.
 */
export function view(collection, items, index, { more = async () => {}, ...does } = {}) {
  return new Promise((resolve) => {
    let at = index;
    let asked = null;
    const stage = h("div.stage");
    const facts = h("div.facts");
    const previous = button("round.veil.previous", "left", null, () => go(-1), { label: t("previous") });
    const next = button("round.veil.next", "right", null, () => go(1), { label: t("next") });
    const box = h("dialog.viewer", { "aria-label": t("picture"), onkeydown: pressed, oncancel: (event) => (event.preventDefault(), close()) }, [
      h("div.theatre", {}, stage, previous, next),
      facts,
      button("round.veil.close", "close", null, () => close(), { label: t("close") }),
    ]);
    box.onclick = (event) => event.target.matches(".theatre, .stage") && close();
    swipes(stage, go);

    function close(shown = at) {
      asked?.abort();
      box.close();
      box.remove();
      resolve(shown);
    }

    async function go(step) {
      if (at + step >= items.length - 3) more();
      if (!items[at + step]) return;
      at += step;
      show();
    }

    function pressed(event) {
      if (event.target.matches("input") || event.ctrlKey || event.metaKey || event.altKey) return;
      const item = items[at];
      const acts = { ArrowLeft: () => go(-1), ArrowRight: () => go(1), m: () => leave("like", item), "+": () => leave("term", item, 1), "-": () => leave("term", item, -1) };
      if (!acts[event.key]) return;
      event.preventDefault();
      event.stopPropagation();
      acts[event.key]();
    }

    function leave(what, ...values) {
      if (!does[what]) return;
      close(null);
      does[what](...values);
    }

    function show() {
      const item = items[at];
      previous.disabled = at === 0;
      next.disabled = !items[at + 1];
      fill(stage, large(collection, item));
      fill(facts, about(item), actions(item), alike(item));
      facts.scrollTop = 0;
    }

    function actions(item) {
      const can = (what, drawing, text, ...values) => does[what] && button("quiet", drawing, text, () => leave(what, item, ...values));
      return h("div.actions", {}, [
        does.like && button("primary", "more", t("moreLikeThis"), () => leave("like", item)),
        can("term", "plus", t("addTerm"), 1),
        can("term", "minus", t("subtractTerm"), -1),
        can("recognize", "eye", t("recognizeThis")),
        button("quiet", "download", t("original"), () => save(collection, item)),
        mayWrite() && does.removed && button("quiet", "trash", t("takeOut"), () => takeOut(item)),
      ]);
    }

    async function takeOut(item) {
      if (!(await confirm(t("takeOut"), t("takeOutText", item.id), t("takeOut")))) return;
      try {
        await post(address(["collections", collection, "pictures", "delete"]), { ids: [item.id] });
        does.removed(item, at);
        if (!items.length) return close();
        at = Math.min(at, items.length - 1);
        show();
      } catch (error) {
        facts.prepend(trouble(error));
      }
    }

    function alike(item) {
      const strip = h("div.strip", {}, h("div.spinner"));
      const title = h("h3", {}, t("alike"));
      asked?.abort();
      asked = new AbortController();
      post("/v1/search", { collection, picture: { collection, id: item.id }, top: ALIKE + 1 }, asked.signal)
        .then(({ hits }) => {
          const others = hits.filter((hit) => hit.id !== item.id).slice(0, ALIKE);
          const twins = others.filter((hit) => hit.cosine >= TWIN);
          title.textContent = twins.length ? t("twins", twins.length) : t("alike");
          fill(strip, others.map((hit) => small(hit, hit.cosine >= TWIN)));
        })
        .catch((error) => error.name !== "AbortError" && fill(strip, trouble(error)));
      return h("section", {}, title, strip);
    }

    function small(hit, twin) {
      const label = twin ? t("twinLabel", hit.id) : hit.id;
      const jump = () => {
        const there = items.findIndex((item) => item.id === hit.id);
        if (there < 0) items.splice(at + 1, 0, hit);
        at = there < 0 ? at + 1 : there;
        show();
      };
      return h(`button.small${twin ? ".twin" : ""}`, { type: "button", title: label, "aria-label": label, onclick: jump }, thumbnail(hit.thumbnail));
    }

    document.body.append(box);
    box.showModal();
    show();
  });
}

function large(collection, item) {
  const { width, height } = item.metadata ?? {};
  const frame = h("div.frame", { style: { "--ratio": width / height || 1, "--width": `${Math.max(width || 0, 420)}px` } }, h("div.under", {}, thumbnail(item.thumbnail)));
  const over = thumbnail(address(["collections", collection, "file"], { id: item.id }), item.id);
  over.classList.add("over");
  frame.append(over);
  return frame;
}

function about(item) {
  const data = item.metadata ?? {};
  const rows = [
    data.width && [t("sides"), `${number(data.width)} × ${number(data.height)}`],
    data.bytes && [t("fileSize"), size(data.bytes)],
    data.mtime && [t("changed"), moment(data.mtime)],
    ...Object.entries(data).filter(([name]) => !HIDDEN.has(name)).map(([name, value]) => [name === "folder" ? t("folder") : name, typeof value === "object" ? JSON.stringify(value) : String(value)]),
  ].filter((row) => row && row[1]);
  return [
    h("h2", {}, item.id.split("/").at(-1)),
    item.score !== undefined && h("div.match", {}, meter(item.score, t("match")), h("b", {}, percent(item.score)), h("span", {}, t(item.found ? "standsOut" : "doesNotStandOut"))),
    h("dl", {}, rows.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value)))),
  ];
}

async function save(collection, item) {
  const path = address(["collections", collection, "file"], { id: item.id });
  const link = h("a", { download: item.id.split("/").at(-1), href: path });
  if (key()) {
    try {
      link.href = URL.createObjectURL(await blob(path));
      setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
    } catch (error) {
      toast(error.message);
      return;
    }
  }
  link.click();
}

function swipes(element, go) {
  let from = null;
  element.ontouchstart = (event) => (from = event.touches.length === 1 ? event.touches[0].clientX : null);
  element.ontouchend = (event) => {
    const way = from === null ? 0 : event.changedTouches[0].clientX - from;
    if (Math.abs(way) > 50) go(way < 0 ? 1 : -1);
    from = null;
  };
}
