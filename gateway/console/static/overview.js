// What flows, what fills up, who is behind.

import { Bar, el, say, show, spark, Table } from "./dom.js";
import { count, NONE, rate, room, share, size, some, span } from "./format.js";

const HISTORY = 120;
const BARS_MAX = 500;

export class Overview {
  constructor(place) {
    this.tiles = new Map();
    this.bars = new Map();
    this.flow = el("ol", { class: "tiles" });
    this.channels = new Table("Channels", [{ head: "channel" }, { head: "filled", kind: "wide" }, { head: "waiting", kind: "number" }, { head: "sender waited", kind: "number" }], "No channels.");
    this.lanes = new Table("Lanes", [
      { head: "lane" }, { head: "ring", kind: "wide" }, { head: "share", kind: "number" }, { head: "holds", kind: "number" }, { head: "room for", kind: "number" }, { head: "full in", kind: "number" },
      { head: "written a second", kind: "number" }, { head: "batches waiting", kind: "number" }, { head: "readings lost", kind: "number" }, { head: "when full" },
    ], "No lanes.");
    this.regions = new Table("Regions", [
      { head: "region" }, { head: "link" }, { head: "batches behind", kind: "number" }, { head: "readings behind", kind: "number" }, { head: "oldest", kind: "number" }, { head: "in flight", kind: "number" },
      { head: "sent a second", kind: "number" }, { head: "today", kind: "number" }, { head: "budget of the day", kind: "wide" }, { head: "this month", kind: "number" },
    ], "No regions: readings stay on the box.");
    this.routes = new Table("Routes", [
      { head: "route" }, { head: "messages", kind: "number" }, { head: "readings in", kind: "number" }, { head: "readings out", kind: "number" }, { head: "quarantined", kind: "number" },
    ], "No routes.");
    this.fates = new Table("Fates", [{ head: "fate" }, { head: "a second", kind: "number" }, { head: "so far", kind: "number" }], "Everything went the whole way.");
    this.topics = new Table("Topics by bytes", [{ head: "topic" }, { head: "lane" }, { head: "bytes sealed", kind: "number" }, { head: "share of the lane", kind: "number" }, { head: "as a bar", kind: "wide" }], "Nothing yet.");
    this.box = el("dl", { class: "facts" });
    this.facts = new Map();
    const topics = panel("Bytes by topic", this.topics.element);
    this.topicsPanel = topics;
    place.append(
      panel("Flow", this.flow, this.channels.element), panel("Lanes", this.lanes.element), panel("Regions", this.regions.element),
      el("div", { class: "pair" }, panel("Routes", this.routes.element), panel("Fates", this.fates.element)), topics, panel("Journal, flash and disk", this.box),
    );
  }

  async look(now) {
    for (const one of now.flow) this.tile(one);
    this.channels.update(now.channels.map((one) => ({ key: one.name, cells: [
      one.name, this.bar(`channel ${one.name}`, one.share, one.share >= 1), `${count(one.weight)} of ${count(one.limit)} ${one.unit}`, `${count(one.waits)} times`] })));
    this.lanes.update(now.lanes.map((one) => this.lane(one)));
    this.regions.update(now.regions.flatMap((one) => this.region(one)));
    this.routes.update(now.routes.map((one) => ({ key: one.name, cells: [one.name, count(one.messages), count(one.readings_in), count(one.readings_out), count(one.quarantined)] })));
    this.fates.update([
      ...now.fates.map((one) => ({ key: one.fate, mark: /quarantined|shed/.test(one.fate) ? "warn" : "", cells: [one.fate, rate(one.per_second), count(one.total)] })),
      { key: "unaccounted", mark: now.unaccounted ? "bad" : "good", cells: ["unaccounted", "", count(now.unaccounted)] },
    ]);
    this.byTopic(now.topics);
    this.about(now);
  }

  tile(one) {
    let tile = this.tiles.get(one.stage);
    if (!tile) {
      tile = { rates: [], rate: el("b"), total: el("span", { class: "quiet" }), line: el("div", { class: "line" }) };
      this.tiles.set(one.stage, tile);
      this.flow.append(el("li", {}, el("span", { class: "name" }, one.stage), tile.rate, tile.total, tile.line));
    }
    const isBytes = one.unit === "bytes";
    say(tile.rate, `${isBytes ? size(one.per_second) : rate(one.per_second)}/s`);
    say(tile.total, isBytes ? `${size(one.total)} so far` : `${count(one.total)} ${one.unit}`);
    tile.rates = [...tile.rates, one.per_second].slice(-HISTORY);
    tile.line.replaceChildren(spark(tile.rates, { from: 0, label: `${one.stage}: rate since this page was opened` }));
  }

  bar(label, part, isFull = false, isCalm = false) {
    if (!this.bars.has(label)) {
      if (this.bars.size > BARS_MAX) this.bars.clear();
      this.bars.set(label, new Bar(label, isCalm));
    }
    return this.bars.get(label).set(part, isFull);
  }

  lane(one) {
    const lost = Object.entries(one.lost);
    return {
      key: one.name,
      mark: one.state === "full" ? "bad" : lost.length ? "warn" : "",
      cells: [
        one.name, this.bar(`ring of ${one.name}`, one.share, one.state === "full"), share(one.share), `${room(one.bytes)} of ${room(one.bytes_max)}`, span(one.room_s), span(one.full_in_s),
        size(one.bytes_per_second), count(one.waiting_batches), lost.length ? lost.map(([why, number]) => `${count(number)} ${why}`).join(", ") : "0",
        one.policy.replace("_", " "),
      ],
    };
  }

  region(one) {
    const line = one.line, limit = line.bytes_per_day;
    const link = one.connected ? (one.place === one.name ? "up" : `up, by ${one.place}`) : line.open === false ? "closed by its windows" : `down, next try in ${span(one.next_attempt_s)}`;
    const row = {
      key: one.name,
      mark: one.connected ? (line.budget_spent ? "warn" : "") : "bad",
      cells: [
        one.name, link, count(one.behind_batches), count(one.behind_readings), span(one.oldest_s), count(one.in_flight), size(one.bytes_per_second),
        limit ? `${size(line.day_bytes)} of ${size(limit)}` : size(line.day_bytes), limit ? this.bar(`budget of ${one.name}`, line.day_share, line.budget_spent) : "none",
        line.bytes_per_month ? `${size(line.month_bytes)} of ${size(line.bytes_per_month)}` : size(line.month_bytes),
      ],
    };
    return [row];
  }

  byTopic(topics) {
    show(this.topicsPanel, topics.length > 0);
    this.topics.update(topics.map((one) => ({ key: `${one.lane}\n${one.topic}`, cells: [
      one.topic || "all others", one.lane, size(one.bytes), share(one.share), this.bar(`${one.topic || "all others"} of lane ${one.lane}`, one.share, false, true)] })));
  }

  about(now) {
    const { journal, flash, disk } = now, written = Object.entries(flash.bytes);
    const facts = {
      "local broker": now.broker.connected ? `connected, ${count(now.broker.unacknowledged)} messages not acknowledged yet` : `away: ${now.broker.last_fault || "no word from it yet"}`,
      journal: `a commit each ${(journal.commit_interval_s ?? 0).toFixed(2)} s, ${some(journal.commits, "commit")}, ${room(journal.bytes)} in ${some(journal.files, "file")}`,
      "written to flash": written.map(([why, number]) => `${why} ${size(number)}`).join(", ") || "nothing yet",
      "a payload byte costs": flash.per_payload_byte === null ? NONE : `${flash.per_payload_byte.toFixed(2)} bytes of flash`,
      "flash lasts": flash.endurance_years === null ? "not known yet, see node.endurance_tbw" : `${count(flash.endurance_years)} years at this rate`,
      disk: `${disk.state.replace("_", " ")}, ${size(disk.free_bytes)} free`,
      clock: now.clock || NONE,
      certificates: certificates(now.certificates),
      epoch: String(now.epoch),
    };
    for (const [name, text] of Object.entries(facts)) {
      if (!this.facts.has(name)) {
        const fact = el("dd");
        this.facts.set(name, fact);
        this.box.append(el("div", {}, el("dt", {}, name), fact));
      }
      say(this.facts.get(name), text);
    }
  }
}

/** Say of each peer how long the certificate that ends first is good. */
function certificates(byPeer) {
  const said = Object.entries(byPeer).map(([peer, kinds]) => {
    const left = Math.min(...Object.values(kinds));
    return left > 0 ? `${peer} good for ${span(left)}` : `${peer} run out`;
  });
  return said.join(", ") || "none";
}

/** Return a titled part of a view. */
export function panel(title, ...children) {
  return el("section", { class: "panel", "aria-label": title }, el("h2", {}, title), ...children);
}
