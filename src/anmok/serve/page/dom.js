// Elements, icons, dialogs and short notices: what every screen is built from.

import { t } from "./words.js";

const ICONS = {
  search: "M10.500 17a6.500 6.500 0 1 0 0-13 6.500 6.500 0 0 0 0 13Zm4.800-1.700L20 20",
  picture: "M4 6.500A1.500 1.500 0 0 1 5.500 5h13A1.500 1.500 0 0 1 20 6.500v11a1.500 1.500 0 0 1-1.500 1.500h-13A1.500 1.500 0 0 1 4 17.500Zm0 9.500 4.500-4.500 4 4 2.500-2.500 5 5M15.500 9.200h.01",
  eye: "M3 12c2.400-3.900 5.400-5.900 9-5.900s6.600 2 9 5.900c-2.400 3.900-5.400 5.900-9 5.900S5.400 15.900 3 12Zm9 3a3 3 0 1 0 0-6 3 3 0 0 0 0 6Z",
  stack: "M4 10h16v9H4ZM6 7h12M8 4h8",
  pulse: "M3 12h4l2.500-6.500 4.500 13L16.500 12H21",
  plus: "M12 5v14M5 12h14",
  minus: "M5 12h14",
  close: "m6.500 6.500 11 11m0-11-11 11",
  left: "m14.500 5.500-6.500 6.500 6.500 6.500",
  right: "m9.500 5.500 6.500 6.500-6.500 6.500",
  sun: "M12 16a4 4 0 1 0 0-8 4 4 0 0 0 0 8Zm0-13v2m0 14v2m9-9h-2M5 12H3m15.400-6.400L17 7M7 17l-1.400 1.400m12.800 0L17 17M7 7 5.600 5.600",
  moon: "M19.500 14.500A8 8 0 0 1 9.500 4.500a8 8 0 1 0 10 10Z",
  filter: "M4 7h16M7 12h10m-7 5h4",
  folder: "M3.500 18V6.500A1.500 1.500 0 0 1 5 5h4l2 2.500h8A1.500 1.500 0 0 1 20.500 9v9a1.500 1.500 0 0 1-1.500 1.500H5A1.500 1.500 0 0 1 3.500 18Z",
  upload: "M12 16V5m0 0L7.500 9.500M12 5l4.500 4.500M5 19h14",
  download: "M12 5v11m0 0 4.500-4.500M12 16l-4.500-4.500M5 19h14",
  trash: "M5 7h14M10 7V4.500h4V7m-7.500 0 .8 12.500h9.400L17.500 7",
  more: "M12 4.500 13.800 10l5.700 2-5.700 2L12 19.500 10.200 14l-5.700-2 5.700-2Z",
  twins: "M8.500 8.500h11v11h-11ZM15.500 8.500v-4h-11v11h4",
  swap: "M4 9h14l-3.500-3.500M20 15H6l3.500 3.500",
  check: "m5 12.500 4.500 4.500L19 7.500",
  alert: "M12 8v5m0 3.200h.01M12 3.500 21 19.500H3Z",
  key: "M15 13.500a4.500 4.500 0 1 0-4.300-3.200L4 17v3h3l1.500-1.500v-2h2l1.700-1.700c.8.5 1.800.7 2.800.7Zm1-5.500h.01",
};

/** An element: h("button.primary", {onclick}, "Save"). Children: elements, texts, lists; null and false are left out. */
export function h(description, properties = {}, ...children) {
  const [tag, ...classes] = description.split(".");
  const element = document.createElement(tag || "div");
  if (classes.length) element.className = classes.join(" ");
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on") || name === "value" || name === "checked" || name === "indeterminate") element[name] = value;
    else if (name === "style") for (const [key, one] of Object.entries(value)) element.style.setProperty(key, one);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...flat(children));
  return element;
}

/** Put other children in. */
export function fill(element, ...children) {
  element.replaceChildren(...flat(children));
  return element;
}

const flat = (children) => children.flat(9).filter((child) => child !== null && child !== undefined && child !== false);

/** A line drawing, for the eye only. */
export function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const path = document.createElementNS(svg.namespaceURI, "path");
  for (const [key, value] of Object.entries({ viewBox: "0 0 24 24", class: "icon", "aria-hidden": "true" })) svg.setAttribute(key, value);
  path.setAttribute("d", ICONS[name]);
  svg.append(path);
  return svg;
}

/** A button with a drawing and a text; without a text, `label` says what it does. */
export function button(kind, drawing, text, onclick, properties = {}) {
  const label = properties.label;
  delete properties.label;
  return h(`button.${kind}`, { type: "button", onclick, title: label, "aria-label": label, ...properties }, drawing && icon(drawing), text && h("span", {}, text));
}

/** A list to choose from; `chosen` is the one that is shown first. */
export function select(values, chosen, properties = {}, texts = values) {
  return h("select", properties, values.map((value, i) => h("option", { value, selected: value === chosen }, texts[i])));
}

/** A list with the arrow that tells it opens. */
export const pick = (control, drawing) => h("span.pick", {}, drawing && icon(drawing), control);

/** A text field or another control with its name above it. */
export function field(name, control, hint) {
  return h("label.field", {}, h("span", {}, name), control, hint && h("small", {}, hint));
}

/**
 * A modal dialog. `build(close)` gives its content; resolves to what `close` was called with, null after Escape.
 * A form inside is sent by Enter.
 */
export function dialog(title, build, kind = "small") {
  return new Promise((resolve) => {
    const before = document.activeElement;
    const close = (value = null) => {
      box.close();
      box.remove();
      if (before?.isConnected) before.focus();
      resolve(value);
    };
    const heading = title && h("header", {}, h("h2", {}, title), button("quiet.round", "close", null, () => close(), { label: t("close") }));
    const box = h(`dialog.${kind}`, { "aria-label": title, oncancel: (event) => (event.preventDefault(), close()) });
    box.onclick = (event) => event.target === box && close();
    fill(box, heading, build(close));
    document.body.append(box);
    box.showModal();
    box.querySelector("[autofocus]")?.focus();
  });
}

/** Ask before something that cannot be undone; resolves to true or false. */
export async function confirm(title, text, action) {
  return Boolean(
    await dialog(title, (close) => [
      h("p", {}, text),
      h("footer", {}, button("quiet", null, t("cancel"), () => close(), { autofocus: true }), button("danger", null, action, () => close(true))),
    ]),
  );
}

/** A form of one text that `send` may refuse; resolves to what `send` gave, or null. */
export function askName(title, name, hint, action, send, extra = null) {
  return dialog(title, (close) => {
    const input = h("input", { type: "text", required: true, maxlength: 64, autofocus: true, autocomplete: "off", spellcheck: "false" });
    const problem = h("div", { role: "alert" });
    const submit = async (event) => {
      event.preventDefault();
      try {
        close(await send(input.value.trim()));
      } catch (error) {
        fill(problem, trouble(error));
        input.focus();
      }
    };
    return h("form", { onsubmit: submit }, field(name, input, hint), extra, problem, h("footer", {}, button("quiet", null, t("cancel"), () => close()), h("button.primary", {}, action)));
  });
}

/** What went wrong, in place. */
export function trouble(error, retry) {
  return h("p.trouble", {}, icon("alert"), h("span", {}, error.message), retry && button("quiet", null, t("again"), retry));
}

/** A notice that goes by itself. */
export function toast(text, seconds = 4) {
  const box = h("p.toast", {}, text);
  document.getElementById("toasts").append(box);
  setTimeout(() => box.remove(), seconds * 1000);
}

/** Call `act` once it has been quiet for a while. */
export function debounced(milliseconds, act) {
  let timer;
  return (...values) => {
    clearTimeout(timer);
    timer = setTimeout(act, milliseconds, ...values);
  };
}

/** A part of 1 as a bar. */
export function meter(value, label) {
  const part = Math.max(0, Math.min(1, value));
  return h("span.meter", { role: "img", "aria-label": label, style: { "--part": part } });
}

/** Something that goes on: known how far, or not. */
export function progress(part, label) {
  const known = part !== null && Number.isFinite(part);
  const percent = Math.round(100 * part);
  return h(`div.progress${known ? "" : ".unknown"}`, { role: "progressbar", "aria-label": label, "aria-valuemin": 0, "aria-valuemax": 100, "aria-valuenow": known && percent, style: { "--part": known ? part : 0.3 } });
}

/** Nothing here yet. */
export function empty(drawing, title, text, ...actions) {
  return h("section.empty", {}, icon(drawing), h("h2", {}, title), text && h("p", {}, text), actions.length ? h("p.actions", {}, actions) : null);
}
