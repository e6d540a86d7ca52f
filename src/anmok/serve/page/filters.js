// Filters on metadata: values that many pictures share as buttons, and any other condition by hand.

import { address, get } from "./api.js";
import { fill, h, pick, select, trouble } from "./dom.js";
import { t } from "./words.js";

const LOOKED_AT = 1000; // pictures whose metadata tell which values there are
const MOST_VALUES = 24;
const TECHNICAL = new Set(["path", "name", "bytes", "mtime", "hash", "width", "height"]);
const OPERATORS = ["eq", "contains", "prefix", "ge", "le"];

/** Conditions [{field, operator, value}] as the API's `where`; null for none. */
export function whereOf(conditions) {
  const where = {};
  for (const { field, operator, value } of conditions) {
    const all = (where[field] ??= {});
    if (operator === "eq") (all.in ??= []).push(...both(value));
    else all[operator] = operator === "ge" || operator === "le" ? number(value) : value;
  }
  return conditions.length ? where : null;
}

/** A condition in words. */
export const told = ({ field, operator, value }) => `${named(field)} ${t(`operator.${operator}`)} ${value === "" ? "—" : value}`;

/** The panel of filters of a collection; `changed` is told after each change of the list of conditions. */
export function filterPanel(collection, conditions, changed) {
  const groups = h("div.groups", {}, h("div.spinner"));
  const fields = h("datalist", { id: "fields" });
  const panel = h("section.panel.filters", { id: "filters", "aria-label": t("filters") }, groups, byHand(conditions, changed), fields);
  get(address(["collections", collection, "pictures"], { top: LOOKED_AT }))
    .then(({ pictures }) => {
      const values = shared(pictures);
      fill(groups, [...values].filter(([name]) => !TECHNICAL.has(name)).map(([name, counts]) => group(name, counts, conditions, changed)));
      fill(fields, [...values.keys()].map((name) => h("option", { value: name })));
    })
    .catch((error) => fill(groups, trouble(error)));
  return panel;
}

function group(name, counts, conditions, changed) {
  const usual = [...counts].sort((one, other) => other[1] - one[1]).slice(0, MOST_VALUES);
  if (usual.length < 2 || (counts.size > MOST_VALUES && usual[0][1] < 3)) return null;
  const choice = ([value, count]) => {
    const same = (one) => one.field === name && one.operator === "eq" && one.value === value;
    const press = (event) => {
      const at = conditions.findIndex(same);
      if (at < 0) conditions.push({ field: name, operator: "eq", value });
      else conditions.splice(at, 1);
      event.currentTarget.setAttribute("aria-pressed", at < 0);
      changed();
    };
    return h("button.choice", { type: "button", "aria-pressed": String(conditions.some(same)), onclick: press }, String(value) || "—", h("small", {}, count));
  };
  return h("div.group", { role: "group", "aria-label": named(name) }, h("span", {}, named(name)), usual.map(choice));
}

function byHand(conditions, changed) {
  const name = h("input", { list: "fields", "aria-label": t("field"), placeholder: t("field"), required: true, autocomplete: "off" });
  const operator = select(OPERATORS, "eq", { "aria-label": t("condition") }, OPERATORS.map((one) => t(`operator.${one}`)));
  const value = h("input", { "aria-label": t("value"), placeholder: t("value"), autocomplete: "off" });
  const add = (event) => {
    event.preventDefault();
    conditions.push({ field: name.value.trim(), operator: operator.value, value: value.value });
    name.value = value.value = "";
    changed();
  };
  return h("form.hand", { onsubmit: add }, name, pick(operator), value, h("button.quiet", {}, t("addFilter")));
}

function shared(pictures) {
  const values = new Map();
  for (const { metadata } of pictures)
    for (const [name, value] of Object.entries(metadata)) {
      if (value === null || typeof value === "object") continue;
      const counts = values.get(name) ?? values.set(name, new Map()).get(name);
      counts.set(value, (counts.get(value) ?? 0) + 1);
    }
  return values;
}

const named = (field) => (field === "folder" ? t("folder") : field);
const number = (text) => (text.trim() !== "" && Number.isFinite(Number(text)) ? Number(text) : text);

/** The API keeps the text "3" and the number 3 apart; who types 3 means either. */
const both = (value) => (typeof value === "string" && typeof number(value) === "number" ? [value, number(value)] : [value]);
