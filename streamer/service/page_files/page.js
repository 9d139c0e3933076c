"use strict";
// Shows what /api/events tells. All text goes in as text, never as markup.

const NEEDS_SOMEBODY = new Set(["stopped", "unreadable"]);
const streams = new Map();   // stream -> the newest row
const articles = new Map();  // stream -> its element
let about = {};
let show = "all";
const at = (id) => document.getElementById(id);

// --- words and figures

function size(bytes) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let unit = 0;
  while (bytes >= 1000 && unit < units.length - 1) { bytes /= 1000; unit += 1; }
  return (unit === 0 || bytes >= 100 ? Math.round(bytes) : bytes.toFixed(1)) + "\u00a0" + units[unit];
}

function duration(seconds) {
  const s = Math.max(0, Math.round(seconds));
  const [d, h, m] = [Math.floor(s / 86400), Math.floor(s / 3600) % 24, Math.floor(s / 60) % 60];
  if (d) return `${d}d ${h}h`;
  if (h) return `${h}h ${m}m`;
  return m ? `${m}m ${s % 60}s` : `${s}s`;
}

const count = (n) => n.toLocaleString("en");
const clockTime = (date) => date.toISOString().slice(0, 19).replace("T", " ") + "Z";
const since = (text) => (Date.now() - Date.parse(text)) / 1000;
const process = (owner) => (owner || "").split("/").slice(0, 2).join("/");
const owner = (row) => (row.here ? about.replica : row.owner);

function phaseOf(row) {
  if (row.paused) return "paused";
  return row.export && row.export.blocked_since ? "blocked" : row.phase;
}

function lastOf(row) {
  const found = [row.last_snapshot, row.last_window].filter(Boolean);
  return found.sort((a, b) => Date.parse(b.completed_at) - Date.parse(a.completed_at))[0];
}

const lag = (row) => (row.fresh_until ? since(row.fresh_until) : null);
const letters = (row) => (row.export && row.export.dead_letters) || (lastOf(row) || {}).dead_letters || 0;
const attention = (row) => NEEDS_SOMEBODY.has(row.phase);
const working = (row) => ["requesting", "waiting", "publishing", "reconciling"].includes(row.phase);

// --- one stream

function made(row) {
  const article = at("row").content.firstElementChild.cloneNode(true);
  article.dataset.stream = row.stream;
  const [connection, type] = row.stream.split("/");
  const title = article.querySelector("h2");
  title.textContent = type;
  title.title = row.stream;
  const quiet = document.createElement("span");
  quiet.textContent = connection + "\u2009/\u2009";
  quiet.className = "of";
  title.prepend(quiet);
  articles.set(row.stream, article);
  return article;
}

function put(article, name, text) {
  const element = article.querySelector("." + name);
  if (element.textContent !== text) element.textContent = text;
  return element;
}

function draw(row) {
  const article = articles.get(row.stream) || made(row);
  const phase = phaseOf(row);
  article.classList.toggle("attention", attention(row));
  put(article, "owner", owner(row) ? process(owner(row)) + (row.here ? " · here" : "") : "not worked on yet");
  put(article, "pill", phase).className = "pill" + (
    attention(row) ? " bad" : ["paused", "blocked"].includes(phase) ? " warn" : working(row) ? " work" : "");
  drawProgress(article, row);
  drawCurve(article, row);
  drawTimes(article, row);

  const last = lastOf(row);
  put(article, "counts", last ? countsOf(last) : "none yet");
  const bad = letters(row);
  put(article, "letters", bad ? `${count(bad)} dead letter${bad === 1 ? "" : "s"}: lines that could not become records` : "");
  article.querySelector(".letters").hidden = !bad;
  const withheld = last && last.tombstones_withheld;
  if (withheld) {
    put(article, "letters", `${count(withheld)} tombstones withheld: ${last.withheld_why}`);
    article.querySelector(".letters").hidden = false;
  }
  const error = article.querySelector(".error");
  put(article, "error", row.error ? (row.error_at ? `${clockTime(new Date(row.error_at))} · ` : "") + row.error : "");
  error.hidden = !row.error;
  error.classList.toggle("past", !attention(row));
}

function countsOf(last) {
  const more = [];
  if (last.unchanged) more.push(`${count(last.unchanged)} unchanged`);
  if (last.tombstones) more.push(`${count(last.tombstones)} gone`);
  if (last.dead_letters) more.push(`${count(last.dead_letters)} dead`);
  if (last.erased) more.push(`${count(last.erased)} erased`);
  return `${count(last.records)} records` + (more.length ? `, ${more.join(", ")}` : "");
}

function drawProgress(article, row) {
  const work = row.export;
  const bar = article.querySelector(".bar");
  const known = Boolean(work && work.bytes_total !== undefined);
  bar.classList.toggle("still", !known);
  const share = known ? (work.bytes_total ? Math.min(1, work.bytes / work.bytes_total) : 1) : 0;
  bar.firstElementChild.style.width = `${(share * 100).toFixed(1)}%`;
  bar.setAttribute("aria-valuenow", Math.round(share * 100));
  bar.setAttribute("aria-label", `Progress of ${row.stream}`);
  let done = "", left = "";
  if (known) {
    done = `${Math.floor(share * 100)}% of ${size(work.bytes_total)}`;
    left = `file ${Math.min(work.file + 1, work.files)} of ${work.files}`;
    if (row.bytes_per_second) left += ` · ${size(row.bytes_per_second)}/s`;
    if (row.seconds_left !== null && row.seconds_left !== undefined) left += ` · ${duration(row.seconds_left)} left`;
  } else if (work) {
    done = work.blocked_since ? "another export is running at Mews"
      : row.phase === "waiting" ? "Mews works on the export" : "asking Mews for an export";
    left = `asked ${duration(since(work.requested_at))} ago`;
  }
  if (row.phase === "stopped") done = "a person must look";
  if (row.phase === "stopped" && row.look_at) left = `looks again at ${clockTime(new Date(row.look_at))}`;
  put(article, "done", done);
  put(article, "left", left);
}

function drawCurve(article, row) {
  const curve = row.throughput || [];
  const peak = Math.max(1, ...curve);
  const flat = !curve.some(Boolean);
  const points = curve.map((value, i) => `${(i * 120 / Math.max(1, curve.length - 1)).toFixed(1)},${(30 - 28 * value / peak).toFixed(1)}`);
  const line = points.length ? "M" + points.join("L") : "";
  article.querySelector(".curve").classList.toggle("flat", flat);
  article.querySelector(".line").setAttribute("d", line);
  article.querySelector(".area").setAttribute("d", line && !flat ? line + "L120,30L0,30Z" : "");
  put(article, "rate", flat ? "quiet" : `up to ${size(peak)}/s`);
}

function drawTimes(article, row) {
  const age = lag(row);
  put(article, "age", age === null ? "no export yet" : `${duration(age)} ago`);
  put(article, "until", age === null ? "" : clockTime(new Date(row.fresh_until)));
  const last = lastOf(row);
  put(article, "when", last ? `${last.window ? "window" : "snapshot"}, ${duration(since(last.completed_at))} ago` : "");
}

// --- all of them

function fits(row) {
  if (show === "attention" && !attention(row) && phaseOf(row) !== "blocked") return false;
  if (show === "working" && !working(row)) return false;
  if (show === "idle" && row.phase !== "idle") return false;
  const words = at("filter").value.toLowerCase().split(/\s+/).filter(Boolean);
  const text = `${row.stream} ${phaseOf(row)} ${owner(row) || ""} ${row.error || ""}`.toLowerCase();
  return words.every((word) => text.includes(word));
}

const orders = {
  name: () => 0,
  attention: (a, b) => attention(b) - attention(a) || Boolean(b.error) - Boolean(a.error) || working(b) - working(a),
  lag: (a, b) => (lag(b) === null ? Infinity : lag(b)) - (lag(a) === null ? Infinity : lag(a)) || 0,
  rate: (a, b) => (b.bytes_per_second || 0) - (a.bytes_per_second || 0),
  letters: (a, b) => letters(b) - letters(a),
};

function arrange() {
  const order = orders[at("sort").value];
  const shown = [...streams.values()].filter(fits).sort((a, b) => order(a, b) || (a.stream < b.stream ? -1 : 1));
  const list = at("streams");
  const wanted = shown.map((row) => articles.get(row.stream));
  for (const child of [...list.children]) if (!wanted.includes(child)) child.remove();
  wanted.forEach((article, i) => { if (list.children[i] !== article) list.insertBefore(article, list.children[i] || null); });
  at("nothing").hidden = shown.length > 0 || streams.size === 0;
}

function summarise() {
  const rows = [...streams.values()];
  const busy = rows.filter(working).length;
  const needy = rows.filter(attention).length;
  const oldest = rows.filter((row) => lag(row) !== null).sort((a, b) => lag(b) - lag(a))[0];
  const rate = rows.reduce((sum, row) => sum + (row.bytes_per_second || 0), 0);
  at("tile-streams").textContent = count(rows.length);
  at("tile-streams-more").textContent = busy ? `streams, ${busy} at work` : "streams, all at rest";
  at("tile-rate").textContent = `${size(rate)}/s`;
  at("tile-lag").textContent = oldest ? duration(lag(oldest)) : "–";
  at("tile-lag-more").textContent = oldest ? `oldest: ${oldest.stream}` : "nothing completed yet";
  at("tile-letters").textContent = count(rows.reduce((sum, row) => sum + letters(row), 0));
  at("tile-attention").textContent = count(needy);
  at("tile-attention-box").classList.toggle("bad", needy > 0);
  document.title = needy ? `(${needy}) streamer` : "streamer";
  at("about").textContent = about.prefix ? `topics ${about.prefix}.*  ·  version ${about.version}  ·  ${process(about.replica)}` : "";

  at("alarm").hidden = about.ready !== false;
  at("alarm").textContent = "This replica hears nothing from Kafka, or has not joined the others yet, so what is shown may be old. "
    + "Its log and `streamer check` say why.";

  const replicas = new Map([[process(about.replica), 0]]);
  for (const row of rows) if (owner(row)) replicas.set(process(owner(row)), (replicas.get(process(owner(row))) || 0) + 1);
  at("replicas").replaceChildren(...[...replicas].filter(([name]) => name).sort().map(([name, held]) => {
    const chip = document.createElement("span");
    const here = name === process(about.replica);
    chip.classList.toggle("this", here);
    chip.textContent = `${name}${here ? " (this page)" : ""}: ${held} stream${held === 1 ? "" : "s"}`;
    return chip;
  }));
}

function take(message) {
  const { streams: rows, whole, ...rest } = message;
  about = rest;
  if (whole) {
    const kept = new Set(rows.map((row) => row.stream));
    for (const stream of [...streams.keys()]) if (!kept.has(stream)) { streams.delete(stream); articles.delete(stream); }
  }
  for (const row of rows) { streams.set(row.stream, row); draw(row); }
  arrange();
  summarise();
}

// --- life

function connect() {
  const source = new EventSource("/api/events");
  let heard = Date.now();
  const say = (text, state) => { at("connection").textContent = text; at("connection").className = `connection ${state}`; };
  source.onmessage = (event) => { heard = Date.now(); take(JSON.parse(event.data)); say("live", "live"); };
  source.onerror = () => say(`no connection since ${clockTime(new Date(heard))}; trying again`, "lost");
  setInterval(() => {
    for (const row of streams.values()) drawTimes(articles.get(row.stream), row);
    if (streams.size) summarise();
    // A browser gives up after some answers, such as 503; then it begins anew.
    if (source.readyState === EventSource.CLOSED && Date.now() - heard > 5000) location.reload();
  }, 1000);
}

function theme() {
  const themes = ["system", "light", "dark"];
  const kept = () => { try { return localStorage.getItem("theme") || "system"; } catch { return "system"; } };
  const use = (name) => {
    if (name === "system") delete document.documentElement.dataset.theme; else document.documentElement.dataset.theme = name;
    at("theme").textContent = `Theme: ${name}`;
    at("theme").value = name;
  };
  at("theme").addEventListener("click", () => {
    const next = themes[(themes.indexOf(at("theme").value) + 1) % themes.length];
    try { localStorage.setItem("theme", next); } catch { /* a browser that keeps nothing */ }
    use(next);
  });
  use(kept());
}

at("filter").addEventListener("input", arrange);
at("sort").addEventListener("change", arrange);
for (const button of document.querySelectorAll("[data-show]")) {
  button.addEventListener("click", () => {
    show = button.dataset.show;
    for (const other of document.querySelectorAll("[data-show]")) other.setAttribute("aria-pressed", other === button);
    arrange();
  });
}
theme();
connect();
