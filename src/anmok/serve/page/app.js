// The page as a whole: which screen is shown, language and look, shortcuts, drops and pastes, keys and connection.

import { hooks, setKey } from "./api.js";
import * as collection from "./collection.js";
import * as collections from "./collections.js";
import { button, dialog, field, fill, h, icon, toast, trouble } from "./dom.js";
import { filesOf } from "./pictures.js";
import * as recognize from "./recognize.js";
import * as search from "./search.js";
import { forget, status as askStatus } from "./service.js";
import * as statusScreen from "./status.js";
import { language, markLanguage, setLanguage, t } from "./words.js";

const SCREENS = { search: "search", recognize: "eye", collections: "stack", status: "pulse" }; // and their drawings
const main = document.getElementById("main");

let screen = {}; // what the shown screen can do: files, focus, escape, leave
let given = null; // what the next screen is given beyond its address
let turn = 0;

async function show() {
  const [path, query] = location.hash.replace(/^#\/?/, "").split("?");
  const [name, inside] = (path || "search").split("/");
  const values = new URLSearchParams(query);
  const now = ++turn;
  screen.leave?.();
  screen = {};
  markTabs(name);
  document.title = `${t(name in SCREENS ? name : "search")} · anmok 안목`;
  const passed = given;
  given = null;
  const place = h("div.screen", {}, h("div.spinner.late", {}));
  fill(main, place);
  scrollTo({ top: 0 });
  try {
    const shown = await open(name, inside, values, passed, place);
    if (now === turn) screen = shown ?? {};
    else shown?.leave?.();
  } catch (error) {
    if (now === turn) fill(place, trouble(error, show));
  }
}

async function open(name, inside, values, passed, place) {
  try {
    await askStatus(); // limits and rights
  } catch (error) {
    if (error.status === 401) throw error; // whatever else is wrong shows in what the screen asks for itself
  }
  if (name === "recognize") return recognize.show(place, { given: passed }, go);
  if (name === "status") return statusScreen.show(place);
  if (name === "collections" && inside) return collection.show(place, { name: decodeURIComponent(inside) }, go);
  if (name === "collections") return collections.show(place, {}, go);
  if (passed?.like) search.searchBy(passed.collection, passed.like);
  return search.show(place, { collection: passed?.collection ?? values.get("c"), q: values.get("q") ?? undefined }, go);
}

function go(where, values = null) {
  given = values;
  const goal = `#/${where}`;
  if (location.hash === goal) show();
  else location.hash = goal;
}

function markTabs(current) {
  const tab = ([name, drawing]) => h("a", { href: `#/${name}`, "aria-current": name === current && "page" }, icon(drawing), h("span", {}, t(name)));
  fill(document.getElementById("tabs"), Object.entries(SCREENS).map(tab));
}

// --- language and look

function markTools() {
  const dark = isDark();
  fill(document.getElementById("tools"), [
    button("quiet", null, language === "ko" ? "English" : "한국어", () => (setLanguage(language === "ko" ? "en" : "ko"), redraw()), { lang: language === "ko" ? "en" : "ko" }),
    button("quiet.round", dark ? "sun" : "moon", null, () => (setLook(dark ? "light" : "dark"), markTools()), { label: t(dark ? "light" : "dark") }),
  ]);
  document.querySelector("meta[name=theme-color]").content = getComputedStyle(document.body).backgroundColor;
}

const isDark = () => (document.documentElement.dataset.look ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";

function setLook(look) {
  document.documentElement.dataset.look = look;
  try {
    localStorage.setItem("anmok.look", look);
  } catch {}
}

function redraw() {
  markLanguage();
  markTools();
  show();
}

// --- keyboard, drops, pastes

const typing = (element) => element.matches?.("input:not([type=range]), select, textarea");

addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing || document.querySelector("dialog[open]")) return;
  if (event.key === "Escape") {
    if (typing(event.target) && event.target.value && event.target.type !== "search") return;
    screen.escape?.();
    return;
  }
  if (typing(event.target)) return;
  const names = Object.keys(SCREENS);
  if (event.key === "/") {
    event.preventDefault();
    if (screen.focus) screen.focus();
    else go("search");
  } else if (names[event.key - 1]) go(names[event.key - 1]);
  else if (event.key === "?") help();
});

function help() {
  const rows = [["/", "keySearch"], ["1 2 3 4", "keyScreens"], ["← ↑ → ↓", "keyGrid"], ["Enter", "keyOpen"], ["Esc", "keyClose"], ["Shift Enter", "keyCombine"], ["M", "keyLike"], ["+  −", "keyTerm"], ["Ctrl V", "keyPaste"]];
  dialog(t("shortcuts"), () => h("dl.keys", {}, rows.map(([keys, text]) => h("div", {}, h("dt", {}, keys.split(" ").filter(Boolean).map((one) => h("kbd", {}, one))), h("dd", {}, t(text))))));
}

const veil = h("div.veil-drop", { hidden: true }, icon("picture"), h("b"));
let inside = 0; // elements that a drag is in

const carries = (event) => screen.files && event.dataTransfer?.types.includes("Files") && !document.querySelector("dialog[open]");

addEventListener("dragenter", (event) => {
  if (!carries(event)) return;
  event.preventDefault();
  inside++;
  veil.lastChild.textContent = t("dropNow");
  veil.hidden = false;
});
addEventListener("dragleave", () => (inside = Math.max(0, inside - 1)) || (veil.hidden = true));
addEventListener("dragover", (event) => event.dataTransfer?.types.includes("Files") && event.preventDefault());
addEventListener("drop", async (event) => {
  if (event.dataTransfer?.types.includes("Files")) event.preventDefault();
  inside = 0;
  veil.hidden = true;
  if (carries(event)) give(await filesOf(event.dataTransfer));
});
addEventListener("paste", async (event) => {
  if (document.querySelector("dialog[open]") || !event.clipboardData.types.includes("Files")) return;
  event.preventDefault();
  give(await filesOf(event.clipboardData));
});

async function give(files) {
  try {
    if (files.length) await screen.files?.(files);
  } catch (error) {
    toast(error.message);
  }
}

// --- keys and connection

hooks.askKey = (message) =>
  dialog(t("keyNeeded"), (close) => {
    const input = h("input", { type: "password", required: true, autofocus: true, autocomplete: "off", spellcheck: "false" });
    const remember = h("input", { type: "checkbox" });
    const send = (event) => {
      event.preventDefault();
      setKey(input.value.trim(), remember.checked);
      forget();
      close(true);
    };
    return h("form", { onsubmit: send }, h("p", {}, message), field(t("key"), input, t("keyHint")), h("label.check", {}, remember, h("span", {}, t("rememberKey"))), h("footer", {}, button("quiet", null, t("cancel"), () => close(false)), h("button.primary", {}, t("goOn"))));
  });

let busyUntil = 0;
hooks.busy = (seconds) => {
  if (Date.now() < busyUntil) return;
  busyUntil = Date.now() + seconds * 1000;
  toast(t("busy", seconds), seconds);
};

const offline = document.getElementById("offline");
let asking = null;
hooks.offline = () => {
  offline.hidden = false;
  offline.textContent = t("offline");
  asking ??= setInterval(() => fetch("/healthz").then((answer) => answer.ok && (hooks.online(), show()), () => {}), 3000);
};
hooks.online = () => {
  offline.hidden = true;
  clearInterval(asking);
  asking = null;
};

document.body.append(veil);
markLanguage();
markTools();
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", markTools);
document.querySelector(".skip").onclick = (event) => (event.preventDefault(), main.focus());
document.getElementById("help").onclick = help;
document.querySelector(".brand").onclick = () => search.reset();
addEventListener("hashchange", show);
show();
