// Elements, made and kept up to date. Text is set as text, never as markup: names and payloads come from sensors.

const SVG = "http://www.w3.org/2000/svg";

/** Return an element with attributes and children; a child is an element or what is shown as text. */
export function el(tag, attributes = {}, ...children) {
  return dress(document.createElement(tag), attributes, children);
}

/** Return an element of SVG. */
export function svg(tag, attributes = {}, ...children) {
  return dress(document.createElementNS(SVG, tag), attributes, children);
}

function dress(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, String(value));
  }
  element.append(...children.filter((one) => one !== null && one !== undefined));
  return element;
}

/** Set the text of an element where it differs, so that what a person has marked stays marked. */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

export function show(element, isShown) {
  element.hidden = !isShown;
}

/**
 * A table whose rows are kept up to date in place. `columns` are {head, kind}, kind "number", "wide", "short"
 * or none; the one that names the row has `isName`, else it is the first. Roles are
 * said out loud, because a phone shows rows as cards, and browsers forget what a table is when it is not laid out as one.
 */
export class Table {
  constructor(caption, columns, empty) {
    this.columns = columns;
    this.named = Math.max(0, columns.findIndex((one) => one.isName));
    this.rows = new Map();
    this.body = el("tbody", { role: "rowgroup" });
    this.empty = el("p", { class: "quiet" }, empty);
    const heads = columns.map((one) => el("th", { scope: "col", role: "columnheader", class: one.kind }, one.head));
    this.table = el("table", { role: "table" },
      el("caption", { class: "spoken" }, caption),
      el("thead", { role: "rowgroup" }, el("tr", { role: "row" }, ...heads)), this.body);
    this.element = el("div", { class: "table" }, this.table, this.empty);
    this.update([]);
  }

  /** Show items: {key, cells, mark}, a cell for each column, text or an element that is replaced only when it is new. */
  update(items) {
    show(this.table, items.length > 0);
    show(this.empty, items.length === 0);
    const kept = new Set(items.map((one) => one.key));
    for (const [key, row] of this.rows) {
      if (!kept.has(key)) {
        row.remove();
        this.rows.delete(key);
      }
    }
    items.forEach((item, index) => {
      let row = this.rows.get(item.key);
      if (!row) {
        row = el("tr", { role: "row" }, ...this.columns.map((one, number) => number === this.named
          ? el("th", { scope: "row", role: "rowheader", class: one.kind })
          : el("td", { role: "cell", class: one.kind, "data-label": one.head || null })));
        this.rows.set(item.key, row);
      }
      row.className = item.mark ?? "";
      if (this.body.children[index] !== row) this.body.insertBefore(row, this.body.children[index] ?? null);
      item.cells.forEach((cell, number) => {
        const place = row.children[number];
        if (cell instanceof Node) {
          if (place.firstChild !== cell || place.childNodes.length !== 1) place.replaceChildren(cell);
        } else say(place, cell);
      });
    });
  }
}

/** A bar that says its share: 0 to 1, or null where there is none. */
export class Bar {
  /** `isCalm`: that a share is high means nothing bad. */
  constructor(label, isCalm = false) {
    this.label = label;
    this.isCalm = isCalm;
    this.fill = svg("rect", { height: "100%", rx: "2" });
    this.element = svg("svg", { class: "bar", role: "img", preserveAspectRatio: "none" },
      svg("rect", { class: "rail", width: "100%", height: "100%", rx: "2" }), this.fill);
  }

  /** `isFull`: that the share is high has cost something already. */
  set(share, isFull) {
    const part = Math.min(1, Math.max(0, share ?? 0));
    this.fill.setAttribute("width", `${part > 0 ? Math.max(1, part * 100) : 0}%`);
    this.element.setAttribute("aria-label", share === null ? `${this.label}: unknown` : `${this.label}: ${Math.round(part * 100)} %`);
    this.element.classList.toggle("high", part >= 0.8 && !this.isCalm);
    this.element.classList.toggle("full", isFull);
    return this.element;
  }
}

/** Return a line through values, as wide as its place; points may stand at `times`, else side by side. */
export function spark(values, { times = null, label = "", from = null } = {}) {
  const element = svg("svg", { class: "spark", viewBox: "0 0 100 24", preserveAspectRatio: "none", role: "img", "aria-label": label });
  if (values.length > 1) {
    const low = from ?? Math.min(...values), high = Math.max(...values), spread = high - low || 1;
    const first = times ? times[0] : 0, span = (times ? times.at(-1) - first : values.length - 1) || 1;
    const points = values.map((value, index) => {
      const x = ((times ? times[index] - first : index) / span) * 100;
      const y = high === low ? 12 : 22 - ((value - low) / spread) * 20;
      return `${x.toFixed(1)},${y.toFixed(1)}`;
    });
    if (from !== null) element.append(svg("polygon", { points: `0,22 ${points.join(" ")} 100,22` }));
    element.append(svg("polyline", { points: points.join(" "), "vector-effect": "non-scaling-stroke" }));
  }
  return element;
}
