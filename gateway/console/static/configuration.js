// The configuration at work: every value, and where it comes from.

import { act, ask, Gone, Refused } from "./ask.js";
import { el, say, show, Table } from "./dom.js";
import { count } from "./format.js";
import { panel } from "./overview.js";

export class Configuration {
  constructor(place) {
    this.values = [];
    this.words = el("input", { type: "search", id: "options", autocomplete: "off", spellcheck: "false", oninput: () => this.filter() });
    this.set = el("input", { type: "checkbox", id: "set", checked: true, onchange: () => this.filter() });
    this.found = el("p", { class: "quiet" });
    this.table = new Table("Options", [{ head: "option" }, { head: "value" }, { head: "from" }], "No option has these words.");
    this.token = el("input", { type: "password", id: "reload-token", autocomplete: "off", spellcheck: "false", size: "24" });
    this.button = el("button", { type: "button", onclick: () => this.reload() }, "Reload the file");
    this.said = el("p", { role: "status", class: "said" });
    this.controls = el("form", { class: "line-form", onsubmit: (event) => event.preventDefault() }, el("label", { for: "reload-token" }, "Token"), this.token, this.button);
    place.append(panel("Configuration at work",
      el("form", { class: "line-form", onsubmit: (event) => event.preventDefault() }, el("label", { for: "options" }, "Words of option or value"), this.words, el("label", {}, this.set, " only what the file says"), this.found),
      this.controls, this.said, this.table.element));
  }

  async opened() {
    this.isOld = true;
  }

  async look(now) {
    show(this.controls, !now.read_only);
    const generation = `${now.reloads.taken} ${now.epoch} ${now.uptime_s < 5}`;
    if (!this.isOld && generation === this.generation) return;
    this.values = (await ask("configuration")).values;
    this.isOld = false;
    this.generation = generation;
    this.filter();
  }

  filter() {
    const words = this.words.value.toLowerCase().split(/\s+/).filter(Boolean);
    const found = this.values.filter(([key, value, origin]) => (!this.set.checked || origin !== "default") && words.every((word) => `${key} ${value}`.toLowerCase().includes(word)));
    say(this.found, `${count(found.length)} of ${count(this.values.length)} options`);
    this.table.update(found.map(([key, value, origin]) => ({ key, mark: origin === "default" ? "default" : "", cells: [key, value, origin] })));
  }

  async reload() {
    this.button.disabled = true;
    try {
      const { left } = await act("reload", [], this.token.value);
      say(this.said, left.length ? `Refused, the gateway goes on as it was. ${left.map((one) => one.why).join(" ")}` : "Taken up.");
    } catch (error) {
      if (!(error instanceof Gone || error instanceof Refused)) throw error;
      say(this.said, `Not done: ${error.message}.`);
    }
    this.button.disabled = false;
    this.isOld = true;
  }
}
