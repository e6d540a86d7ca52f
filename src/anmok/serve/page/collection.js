// The screen of one collection: take pictures in, watch what runs, see what failed and what is twice, move, delete.

import { address, get, post, remove } from "./api.js";
import { button, confirm, dialog, empty, field, fill, h, icon, pick, progress, select, toast, trouble } from "./dom.js";
import { JobCard, failures, over, watch } from "./jobs.js";
import { chooser, thumbnail } from "./pictures.js";
import { hasRoots, mayWrite, models, status } from "./service.js";
import { upload, uploadTo } from "./upload.js";
import { view } from "./viewer.js";
import { number, percent, size, t } from "./words.js";

const RECENT = 24; // pictures shown
const ENDED = 3600; // seconds that a job which is over stays on the screen
const TWIN = 0.97;

/** Show it. */
export async function show(main, { name }, go) {
  const [stats] = await Promise.all([get(address(["collections", name])), status()]);
  const screen = new CollectionScreen(stats, go);
  fill(main, screen.element);
  screen.load();
  return { files: mayWrite() && ((files) => screen.files(files)), focus: () => go("search", { collection: name }), leave: () => screen.stop.abort() };
}

class CollectionScreen {
  constructor(stats, go) {
    Object.assign(this, { name: stats.name, stats, go, stop: new AbortController(), followed: new Set() });
    const files = chooser((chosen) => this.files(chosen));
    const folder = chooser((chosen) => this.files(chosen), { folder: true });
    this.facts = h("p.hint");
    this.problem = h("div", { role: "alert" });
    this.upload = h("div", { role: "status" });
    this.jobs = h("ul.jobs", { role: "list", "aria-live": "polite" });
    this.failed = h("div");
    this.twins = h("div");
    this.recent = h("div");
    const add = mayWrite() && [
      h("div.drop", {}, [
        icon("upload"),
        h("p", {}, h("b", {}, t("dropToAdd")), h("span", {}, t("dropToAddText"))),
        h("p.actions", {}, button("primary", "picture", t("choosePictures"), () => files.click()), button("quiet", "folder", t("chooseFolder"), () => folder.click()), hasRoots() && button("quiet", "stack", t("serverFolder"), () => this.#folder())),
        files,
        folder,
      ]),
    ];
    const actions = [
      button("primary", "search", t("searchHere"), () => go("search", { collection: this.name })),
      button("quiet", "twins", t("findTwins"), () => this.#twins()),
      mayWrite() && models().length > 1 && button("quiet", "swap", t("reencode"), () => this.#reencode()),
      mayWrite() && button("quiet", "trash", t("delete"), () => this.#delete()),
    ];
    this.element = h("div.collection", {}, [
      h("header.title", {}, h("div", {}, h("p.crumb", {}, h("a", { href: "#/collections" }, t("collections"))), h("h1", {}, this.name), this.facts), h("div.actions", {}, actions)),
      this.problem,
      add,
      this.upload,
      this.jobs,
      this.failed,
      this.twins,
      this.recent,
    ]);
    this.#stats();
  }

  async load() {
    const running = uploadTo(this.name);
    if (running) {
      running.changed = (one) => this.#uploading(one);
      this.#uploading(running);
    }
    this.#pictures();
    this.#jobs();
  }

  /** Pictures to add. */
  files(files) {
    if (uploadTo(this.name)?.running) return toast(t("uploadRuns"));
    if (files.length) upload(this.name, files, (one) => this.#uploading(one));
  }

  #stats() {
    const { pictures, model, bytes, folders, exact } = this.stats;
    fill(this.facts, [t("pictureCount", number(pictures)), model, size(bytes), folders.length && t("fromFolders", folders.join(", ")), !exact && t("approximate")].filter(Boolean).join(" · "));
    this.#failures();
  }

  async #refresh() {
    try {
      this.stats = await get(address(["collections", this.name]));
      this.#stats();
      this.#pictures();
    } catch (error) {
      toast(error.message);
    }
  }

  async #pictures() {
    try {
      const { pictures, total } = await get(address(["collections", this.name, "pictures"], { top: RECENT, skip: Math.max(0, this.stats.pictures - RECENT) }));
      const items = pictures.reverse();
      if (!items.length) return fill(this.recent, mayWrite() ? null : empty("picture", t("nothingHere")));
      fill(this.recent, h("h2", {}, total > RECENT ? t("recent") : t("pictures")), this.#strip(items));
    } catch (error) {
      fill(this.recent, trouble(error));
    }
  }

  #strip(items, changed = () => this.#refresh()) {
    const removed = (_, index) => (items.splice(index, 1), changed());
    const open = (index) => view(this.name, items, index, { recognize: (item) => this.go("recognize", { collection: this.name, item }), like: (item) => this.go("search", { collection: this.name, like: item }), removed });
    const strip = h("div.strip");
    const draw = (shown) =>
      fill(strip, shown.map((item, index) => h("button.small", { type: "button", title: item.id, "aria-label": item.id, onclick: () => open(index) }, thumbnail(item.thumbnail))), shown.length < items.length && button("quiet", null, t("showAll", number(items.length)), () => draw(items)));
    draw(items.slice(0, RECENT));
    return strip;
  }

  #uploading(one) {
    const facts = [(one.added || !one.known) && t("added", number(one.added)), one.known && t("known", number(one.known))].filter(Boolean).join(" · ");
    fill(this.upload, h("div.job", {}, [
      h("header", {}, h("b", {}, t(one.running ? "uploading" : "uploaded")), h("span.state", {}, t("doneOf", number(one.done), number(one.total))), one.running && button("quiet", "close", t("cancel"), () => one.cancel())),
      one.running && progress(one.done / one.total, t("uploading")),
      h("p.hint", {}, facts),
      one.failed.length > 0 && failures(one.failed, one.failed.length),
      one.failed.length > 0 && !one.running && h("p.actions", {}, button("quiet", null, t("tryFailed"), () => one.again())),
    ]));
    const list = this.upload.querySelector("details");
    if (list && !one.running) list.open = true;
    if (!one.running) this.#refresh();
  }

  async #jobs() {
    try {
      const { jobs } = await get("/v1/jobs", this.stop.signal);
      const now = Date.now() / 1000;
      const own = jobs.filter((job) => job.arguments.collection === this.name && (!over(job) || now - (job.finished ?? now) < ENDED));
      own.reverse().forEach((job) => this.#follow(job));
    } catch (error) {
      if (error.name !== "AbortError") fill(this.jobs, h("li", {}, trouble(error, () => this.#jobs())));
    }
  }

  #follow(job) {
    if (this.followed.has(job.id)) return; // what runs already is not begun twice
    this.followed.add(job.id);
    const card = new JobCard();
    card.draw(job);
    this.jobs.prepend(card.element);
    if (over(job)) return;
    const heard = (now) => {
      card.draw(now);
      if (over(now)) this.#refresh();
    };
    watch(job.id, heard, this.stop.signal);
  }

  async #failures() {
    const { failed: total } = this.stats;
    fill(this.failed);
    if (!total) return;
    try {
      const { failed } = await get(address(["collections", this.name, "failed"], { top: 100 }));
      fill(this.failed, failures(failed, total));
    } catch (error) {
      fill(this.failed, trouble(error));
    }
  }

  async #folder() {
    const job = await dialog(t("serverFolder"), (close) => folderChooser((folder) => post(address(["collections", this.name, "folders"]), { folder }).then(close)));
    if (job) this.#follow(job);
  }

  async #reencode() {
    const others = models().filter((model) => model !== this.stats.model);
    const picker = select(others, others[0], { autofocus: true });
    const least = h("input", { type: "number", min: 0, max: 1, step: 0.05, value: 0.9 });
    const job = await dialog(t("reencode"), (close) => {
      const problem = h("div", { role: "alert" });
      const send = async (event) => {
        event.preventDefault();
        try {
          close(await post(address(["collections", this.name, "re-encode"]), { model: picker.value, least_recall: Number(least.value) }));
        } catch (error) {
          fill(problem, trouble(error));
        }
      };
      return h("form", { onsubmit: send }, h("p", {}, t("reencodeText")), field(t("model"), pick(picker)), field(t("leastRecall"), least, t("leastRecallHint")), problem, h("footer", {}, button("quiet", null, t("cancel"), () => close()), h("button.primary", {}, t("start"))));
    });
    if (job) this.#follow(job);
  }

  #twins() {
    const groups = h("div", { "aria-live": "polite" });
    const shown = h("output", {}, percent(TWIN));
    const find = async (threshold) => {
      fill(groups, h("div.spinner"));
      try {
        const { groups: found } = await get(address(["collections", this.name, "duplicates"], { threshold }));
        fill(groups, found.length ? [h("p.hint", {}, t("twinGroups", number(found.length))), found.map((group) => h("div.twins", {}, this.#strip(group, () => (this.#refresh(), find(threshold)))))] : h("p.calm", {}, icon("check"), t("noTwins")));
      } catch (error) {
        fill(groups, trouble(error));
      }
    };
    const slider = h("input", { type: "range", min: 0.9, max: 1, step: 0.005, value: TWIN, "aria-label": t("alikeAtLeast"), oninput: () => (shown.textContent = `${number(100 * slider.value, 1)}%`), onchange: () => find(slider.value) });
    fill(this.twins, h("section.panel", {}, h("header.title", {}, h("h2", {}, t("twinsTitle")), button("quiet.round", "close", null, () => fill(this.twins), { label: t("close") })), h("label.slide", {}, h("span", {}, t("alikeAtLeast")), slider, shown), groups));
    find(TWIN);
  }

  async #delete() {
    if (!(await confirm(t("deleteCollection"), t("deleteCollectionText", this.name, number(this.stats.pictures)), t("delete")))) return;
    try {
      await remove(address(["collections", this.name]));
      toast(t("deleted", this.name));
      this.go("collections");
    } catch (error) {
      fill(this.problem, trouble(error));
    }
  }
}

/** Browse the folders that the service is allowed to read; `choose(path)` for the one that is taken. */
function folderChooser(choose) {
  const place = h("nav.place", { "aria-label": t("folder") });
  const list = h("ul.folders", { role: "list" });
  const problem = h("div", { role: "alert" });
  const take = h("button.primary", { type: "button" }, t("addThisFolder"));
  const open = async (path) => {
    const parts = path.split("/").filter(Boolean);
    const step = (text, goal) => h("button.quiet", { type: "button", onclick: () => open(goal) }, text);
    fill(place, step(t("folders"), ""), parts.map((part, i) => ["/", step(part, parts.slice(0, i + 1).join("/"))]));
    take.disabled = !path;
    take.onclick = () => choose(path).catch((error) => fill(problem, trouble(error)));
    try {
      const { folders } = await get(`/v1/folders?path=${encodeURIComponent(path)}`);
      fill(problem);
      fill(list, folders.length ? folders.map((one) => h("li", {}, button("quiet", "folder", one.name, () => open(one.path)))) : h("li.hint", {}, t("noFolders")));
      list.querySelector("button")?.focus();
    } catch (error) {
      fill(list);
      fill(problem, trouble(error, () => open(path)));
    }
  };
  open("");
  return [place, list, problem, h("p.hint", {}, t("serverFolderText")), h("footer", {}, take)];
}
