// The page: which view is open, and its document, asked for once a second while somebody sees it.

import { el, say, show } from "./dom.js";
import { span } from "./format.js";
import { ask, Gone, Refused } from "./ask.js";
import { Overview } from "./overview.js";
import { Series } from "./series.js";
import { Quarantine } from "./quarantine.js";
import { Recovery } from "./recovery.js";
import { Configuration } from "./configuration.js";

const EVERY_MS = 1000;
const at = (id) => document.getElementById(id);
const views = {
  overview: new Overview(at("overview")),
  series: new Series(at("series")),
  quarantine: new Quarantine(at("quarantine")),
  recovery: new Recovery(at("recovery")),
  configuration: new Configuration(at("configuration")),
};
let open = "";
let answeredAt = 0;
let timer = 0;
let turn = 0;

function choose() {
  const named = location.hash.slice(2);
  if (location.hash === "#main") return;
  const next = named in views ? named : "overview";
  if (next === open) return;
  open = next;
  for (const name of Object.keys(views)) show(at(name), name === open);
  for (const link of document.querySelectorAll("nav a")) {
    if (link.hash === `#/${open}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  views[open].opened?.();
  look();
}

async function look() {
  clearTimeout(timer);
  const mine = (turn += 1);
  try {
    const { picture, ...about } = await ask("now");
    const now = { ...picture, ...about };
    answeredAt = performance.now();
    head(now);
    await views[open].look(now);
    away("");
  } catch (error) {
    if (error instanceof Gone) away(`The gateway does not answer: ${error.message}.${age()} It is asked again each second.`);
    else if (error instanceof Refused) away(`The gateway cannot say it: ${error.message}.`);
    else throw error;
  } finally {
    if (mine === turn && !document.hidden) timer = setTimeout(look, EVERY_MS);
  }
}

function away(why) {
  show(at("away"), why !== "");
  document.body.classList.toggle("stale", why !== "");
  say(at("away"), why);
}

function age() {
  return answeredAt ? ` What is shown is ${span((performance.now() - answeredAt) / 1000)} old.` : "";
}

function head(now) {
  const isWell = now.attention.length === 0;
  document.title = `${isWell ? "" : "! "}${now.node} – edge gateway`;
  say(at("node"), now.node);
  say(at("state"), now.state);
  at("state").className = `pill ${isWell ? "good" : "bad"}`;
  say(at("uptime"), `up ${span(now.uptime_s)}`);
  say(at("link"), now.read_only ? "read-only" : "a token permits changes");
  at("link").title = now.read_only;
  attention(now);
}

function attention(now) {
  const sentences = [...now.attention];
  if (now.pressure.length) sentences.push(`under pressure: ${now.pressure.join(", ")}`);
  const box = at("attention");
  show(box, sentences.length > 0);
  const said = sentences.join("\n");
  if (box.dataset.said === said) return; // screen readers are told what is new, not once a second
  box.dataset.said = said;
  box.replaceChildren(el("ul", {}, ...sentences.map((one) => el("li", {}, one))));
}

addEventListener("hashchange", choose);
document.addEventListener("visibilitychange", () => (document.hidden ? clearTimeout(timer) : look()));
choose();
