// A small line chart that goes on to the right: the last two minutes.

import { h } from "./dom.js";
import { number } from "./words.js";

const SPACE = "http://www.w3.org/2000/svg";
const POINTS = 60;
const [WIDTH, HEIGHT] = [600, 120];

/** A chart of several series with their names. */
export class Chart {
  constructor(title, names) {
    this.series = names.map(() => []);
    this.svg = drawn("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img", "aria-label": title });
    this.lines = names.map((_, i) => [drawn("path", { class: `area s${i}` }), drawn("path", { class: `line s${i}` })]);
    this.svg.append(...this.lines.flat());
    this.top = h("span.top", {}, "");
    this.values = names.map(() => h("b", {}, "0"));
    this.element = h("figure.chart", {}, h("div", {}, this.svg, this.top), h("figcaption", {}, names.map((name, i) => h(`span.s${i}`, {}, name, " ", this.values[i]))));
  }

  /** One more value of each. */
  add(values) {
    values.forEach((value, i) => {
      this.series[i].push(value);
      if (this.series[i].length > POINTS) this.series[i].shift();
      this.values[i].textContent = number(value, 1);
    });
    const most = Math.max(1, ...this.series.flat()) * 1.1;
    this.top.textContent = number(most, 1);
    this.series.forEach((series, i) => {
      const points = series.map((value, at) => [WIDTH - ((series.length - 1 - at) * WIDTH) / (POINTS - 1), HEIGHT - 2 - (value / most) * (HEIGHT - 8)]);
      const line = points.map(([x, y], at) => `${at ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`).join("");
      this.lines[i][1].setAttribute("d", line);
      this.lines[i][0].setAttribute("d", `${line}V${HEIGHT}H${points[0][0].toFixed(1)}Z`);
    });
  }
}

function drawn(name, attributes) {
  const element = document.createElementNS(SPACE, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  return element;
}
