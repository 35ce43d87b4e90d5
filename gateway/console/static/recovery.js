// What the last start found and made good.

import { el } from "./dom.js";
import { count, some } from "./format.js";
import { panel } from "./overview.js";

export class Recovery {
  constructor(place) {
    this.facts = el("dl", { class: "facts" });
    this.notes = el("ul", { class: "notes" });
    place.append(panel("What it found", this.facts), panel("What it noted", this.notes));
  }

  async look(now) {
    const { recovery, reloads } = now;
    const batches = Object.entries(recovery.batches).map(([what, number]) => `${count(number)} ${what}`).join(", ");
    const facts = {
      "recovered in": `${recovery.seconds.toFixed(3)} s`,
      "replayed from the journal": `${some(recovery.messages_replayed, "message")} in ${count(recovery.entries_replayed)} entries`,
      "batches made again": batches || "none",
      "acknowledged input missing": recovery.acknowledged_input_missing ? `yes, ${some(recovery.messages_missing, "message")}, positions ${JSON.stringify(recovery.positions_missing)}` : "none",
      "configuration reloaded": `${count(reloads.taken)} times, refused ${count(reloads.refused)} times`,
      "last refusal": reloads.last_refusal || "none",
    };
    const said = JSON.stringify([facts, recovery.notes]);
    if (said === this.said) return;
    this.said = said;
    this.facts.replaceChildren(...Object.entries(facts).map(([name, text]) => el("div", {}, el("dt", {}, name), el("dd", {}, text))));
    this.notes.replaceChildren(...(recovery.notes.length ? recovery.notes : ["Nothing: the last run had ended well, or there was none."]).map((one) => el("li", {}, one)));
  }
}
