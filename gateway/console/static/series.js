// Recent readings: series by name, with a line through the newest numbers of each.

import { ask } from "./ask.js";
import { el, say, spark, Table } from "./dom.js";
import { count, some, span, value } from "./format.js";
import { panel } from "./overview.js";

export class Series {
  constructor(place) {
    this.words = el("input", { type: "search", id: "words", autocomplete: "off", spellcheck: "false", oninput: () => this.look() });
    this.found = el("p", { class: "quiet" });
    this.table = new Table("Series", [{ head: "topic" }, { head: "field" }, { head: "newest", kind: "number short" }, { head: "age", kind: "number" }, { head: "recent", kind: "wide" }, { head: "range", kind: "number" }], "No series with these words has been sealed into a batch lately.");
    place.append(panel("Recent readings", el("form", { class: "line-form", onsubmit: (event) => event.preventDefault() }, el("label", { for: "words" }, "Words of topic or field"), this.words), this.found, this.table.element));
  }

  async look(now) {
    this.now = now?.time_ms ?? this.now;
    const words = this.words.value;
    const answer = await ask(`series?words=${encodeURIComponent(words)}`);
    if (words !== this.words.value) return; // an answer that came after the next word
    const { series, total } = answer;
    say(this.found, total > series.length ? `${count(series.length)} of ${some(total, "series").replace(/ss$/, "s")}: more words show fewer` : `${count(total)} series`);
    this.table.update(series.map((one) => ({ key: `${one.topic}\n${one.field}`, cells: this.cells(one) })));
  }

  cells(one) {
    const numbers = one.values, age = this.now ? Math.max(0, (this.now - one.time_ms) / 1000) : null;
    const since = numbers.length > 1 ? (one.times_ms.at(-1) - one.times_ms[0]) / 1000 : 0;
    const low = Math.min(...numbers), high = Math.max(...numbers);
    return [
      one.topic, one.field, value(one.value), `${span(age)} ago`,
      numbers.length > 1 ? spark(numbers, { times: one.times_ms, label: `${some(numbers.length, "reading")} in ${span(since)}, from ${value(low)} to ${value(high)}` }) : "",
      numbers.length > 1 ? `${value(low)} to ${value(high)}` : "",
    ];
  }
}
