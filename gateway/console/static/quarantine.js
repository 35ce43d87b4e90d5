// Messages that no decoder could take: look at them, publish them again, remove them.

import { act, ask, Gone, Refused } from "./ask.js";
import { el, say, show, Table } from "./dom.js";
import { count, moment, some } from "./format.js";
import { panel } from "./overview.js";

const HEX_BYTES = 2048;
const TEXT_CHARACTERS = 8000;

export class Quarantine {
  constructor(place) {
    this.chosen = new Set();
    this.reason = el("select", { id: "reason", onchange: () => this.look() }, el("option", { value: "" }, "every reason"));
    this.sum = el("p", { class: "quiet" });
    this.all = el("input", { type: "checkbox", id: "all", onchange: () => this.chooseAll() });
    this.table = new Table("Messages in quarantine, newest first", [
      { head: "chosen", kind: "short" }, { head: "topic", isName: true }, { head: "time", kind: "short" }, { head: "reason", kind: "short" }, { head: "detail" },
      { head: "bytes", kind: "number" }, { head: "payload", kind: "short" },
    ], "Nothing is in quarantine.");
    this.boxes = new Map();
    this.buttons = new Map();
    this.detail = el("div", { class: "detail", tabindex: "-1" });
    this.token = el("input", { type: "password", id: "token", autocomplete: "off", spellcheck: "false", size: "24" });
    this.redrive = el("button", { type: "button", onclick: () => this.act("redrive") }, "Publish again");
    this.purge = el("button", { type: "button", class: "danger", onclick: () => this.purgeAsked() }, "Remove for ever");
    this.said = el("p", { role: "status", class: "said" });
    this.why = el("p", { class: "quiet" });
    this.controls = el("form", { class: "line-form", onsubmit: (event) => event.preventDefault() },
      el("label", { for: "token" }, "Token"), this.token, this.redrive, this.purge);
    place.append(
      panel("Messages that could not be decoded",
        el("form", { class: "line-form", onsubmit: (event) => event.preventDefault() }, el("label", { for: "reason" }, "Reason"), this.reason, el("label", {}, this.all, " all that are shown"), this.sum),
        this.controls, this.why, this.said, this.detail, this.table.element));
  }

  async look(now) {
    if (now) {
      show(this.controls, !now.read_only);
      show(this.why, now.read_only !== "");
      say(this.why, now.read_only ? `Read-only: ${now.read_only}. The command line can: gateway quarantine redrive, purge.` : "");
    }
    const { messages, reasons } = await ask(`quarantine?reason=${encodeURIComponent(this.reason.value)}`);
    this.reasons(reasons);
    this.shown = messages.map((one) => one.key);
    for (const key of this.chosen) if (!this.shown.includes(key)) this.chosen.delete(key);
    const total = Object.values(reasons).reduce((sum, number) => sum + number, 0);
    say(this.sum, `${count(messages.length)} shown of ${some(total, "message")}, ${count(this.chosen.size)} chosen`);
    this.table.update(messages.map((one) => ({ key: one.key, cells: [
      this.box(one), one.topic, moment(one.time_ms), one.reason, one.detail, one.payload_bytes === null ? "?" : count(one.payload_bytes), this.button(one)] })));
    this.enable();
  }

  reasons(found) {
    const names = Object.keys(found);
    if (JSON.stringify(found) === this.known) return;
    this.known = JSON.stringify(found);
    const before = this.reason.value;
    this.reason.replaceChildren(el("option", { value: "" }, "every reason"), ...names.map((name) => el("option", { value: name }, `${name} (${count(found[name])})`)));
    this.reason.value = names.includes(before) ? before : "";
  }

  box(one) {
    if (!this.boxes.has(one.key)) {
      if (this.boxes.size > 1000) this.boxes.clear();
      const box = el("input", { type: "checkbox", "aria-label": `choose the message of ${one.topic}`, onchange: () => this.choose(one.key, box.checked) });
      this.boxes.set(one.key, box);
    }
    this.boxes.get(one.key).checked = this.chosen.has(one.key);
    return this.boxes.get(one.key);
  }

  button(one) {
    if (!this.buttons.has(one.key)) {
      if (this.buttons.size > 1000) this.buttons.clear();
      this.buttons.set(one.key, el("button", { type: "button", "aria-label": `show the payload of ${one.topic}`, onclick: () => this.open(one.key) }, "show"));
    }
    return this.buttons.get(one.key);
  }

  choose(key, isChosen) {
    if (isChosen) this.chosen.add(key);
    else this.chosen.delete(key);
    this.enable();
  }

  chooseAll() {
    const isChosen = this.all.checked;
    for (const key of this.shown ?? []) this.choose(key, isChosen);
    for (const [key, box] of this.boxes) box.checked = this.chosen.has(key);
  }

  enable() {
    const isIdle = !this.isActing && this.chosen.size > 0;
    this.all.checked = this.shown?.length > 0 && this.shown.every((key) => this.chosen.has(key));
    this.redrive.disabled = this.purge.disabled = !isIdle;
  }

  async open(key) {
    try {
      const one = await ask(`quarantine/${key}`);
      this.detail.replaceChildren(described(one, el("button", { type: "button", onclick: () => this.detail.replaceChildren() }, "Close")));
    } catch (error) {
      if (!(error instanceof Gone || error instanceof Refused)) throw error;
      this.detail.replaceChildren(el("p", { class: "notice bad" }, error.message));
    }
    this.detail.focus();
    this.detail.scrollIntoView({ block: "nearest" });
  }

  purgeAsked() {
    const isSure = this.purge.dataset.asked === String(this.chosen.size);
    if (isSure) {
      this.calm();
      this.act("purge");
      return;
    }
    this.purge.dataset.asked = String(this.chosen.size);
    say(this.purge, `Really remove ${some(this.chosen.size, "message")}?`);
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.calm(), 5000);
  }

  calm() {
    clearTimeout(this.timer);
    delete this.purge.dataset.asked;
    say(this.purge, "Remove for ever");
  }

  async act(name) {
    this.isActing = true;
    this.enable();
    say(this.said, "at work …");
    try {
      const { done, left } = await act(name, [...this.chosen], this.token.value);
      const what = name === "redrive" ? "published again and removed" : "removed";
      say(this.said, [`${some(done, "message")} ${what}.`, ...left.map((one) => `${one.topic}: ${one.why}.`)].join(" "));
      if (done) this.chosen.clear();
    } catch (error) {
      if (!(error instanceof Gone || error instanceof Refused)) throw error;
      say(this.said, `Not done: ${error.message}.`);
    }
    this.isActing = false;
    await this.look();
  }
}

function described(one, close) {
  const data = Uint8Array.from(atob(one.payload), (character) => character.charCodeAt(0));
  const size = one.payload_bytes === null ? "of unknown length" : `${count(one.payload_bytes)} bytes`;
  const facts = { topic: one.topic, time: moment(one.time_ms), route: one.route || "none", reason: one.reason, detail: one.detail, payload: one.is_whole ? size : `${size}, of which the first ${count(one.kept_bytes)} are kept`, key: one.key };
  const text = new TextDecoder().decode(data);
  return el("section", { class: "message", "aria-label": "Message" }, el("h3", {}, "Message ", close),
    el("dl", { class: "facts" }, ...Object.entries(facts).map(([name, said]) => el("div", {}, el("dt", {}, name), el("dd", {}, said)))),
    el("h3", {}, "As text"), el("pre", { tabindex: "0", "aria-label": "payload as text" }, visible(text.slice(0, TEXT_CHARACTERS)) + (text.length > TEXT_CHARACTERS ? "…" : "")),
    el("h3", {}, "As bytes"), el("pre", { tabindex: "0", "aria-label": "payload as bytes" }, dumped(data.subarray(0, HEX_BYTES)) + (data.length > HEX_BYTES ? "\n…" : "")));
}

/** Return text in which characters that would not be seen, or would turn the line around, are. */
function visible(text) {
  return text.replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200b-\u200f\u202a-\u202e\u2066-\u2069\ufeff]/g, (one) => `\\u${one.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

function dumped(data) {
  const lines = [];
  for (let offset = 0; offset < data.length; offset += 16) {
    const some = [...data.subarray(offset, offset + 16)];
    const hex = some.map((byte) => byte.toString(16).padStart(2, "0")).join(" ");
    const text = some.map((byte) => (byte >= 32 && byte < 127 ? String.fromCharCode(byte) : ".")).join("");
    lines.push(`${offset.toString(16).padStart(6, "0")}  ${hex.padEnd(47)}  ${text}`);
  }
  return lines.join("\n");
}
