// The page: take a clip, ask /predict, show what it answers.
import { Recording, decoded, drawWave, wav } from "./sound.js";
import { drawTimeline } from "./timeline.js";

const $ = (id) => document.getElementById(id);
const LONG = 15; // seconds from which on a recording is shown as a timeline
const state = { service: null, file: null, sound: null, recording: null, answer: null, chosen: 0, redraw: null };

const colour = (label) => `var(--c${Math.max(0, state.service.labels.indexOf(label)) % 10})`;
const percent = (value) => `${(100 * value).toFixed(1)} %`;
const clock = (seconds) => `${Math.floor(seconds / 60)}:${(seconds % 60).toFixed(1).padStart(4, "0")}`;

function element(name, properties = {}, ...children) {
  const node = Object.assign(document.createElement(name), properties);
  node.append(...children);
  return node;
}

function say(text, bad = false) {
  $("status").textContent = text;
  $("status").classList.toggle("bad", bad);
}

// ---- the service

async function introduce() {
  const service = await (await fetch("labels")).json();
  state.service = service;
  document.title = `${service.system} · affekt`;
  $("system").textContent = service.system;
  const members = Object.keys(service.members).length;
  $("about").textContent = `${service.labels.join(" · ")}${members > 1 ? ` — ensemble of ${members} members` : ""}`;
  const { audio, text } = service.inputs;
  const either = audio === "optional" && text === "optional";
  const word = { required: "needed", optional: "optional", unused: "not used" };
  $("audio-need").textContent = either ? "this or a text" : word[audio];
  $("text-need").textContent = either ? "this or a recording" : word[text];
  $("text").disabled = text === "unused";
  for (const id of ["record", "file"]) $(id).disabled = audio === "unused";
  if (!navigator.mediaDevices) {
    $("record").disabled = true;
    $("record").title = "Browsers record only on https:// and on this machine";
  }
  $("caution").replaceChildren(...service.caution.map((line) => element("li", { textContent: line })));
  refresh();
}

// What is shown belongs to an earlier clip, text or window.
function outdate() {
  $("answer").classList.add("stale");
  refresh();
}

function refresh() {
  const { inputs } = state.service;
  const given = { audio: Boolean(state.file), text: Boolean($("text").value.trim()) };
  const kinds = ["audio", "text"];
  const missing = kinds.filter((kind) => inputs[kind] === "required" && !given[kind]);
  const some = kinds.some((kind) => inputs[kind] !== "unused" && given[kind]);
  $("predict").disabled = missing.length > 0 || !some || Boolean(state.recording);
  const names = { audio: "a recording", text: "a text" };
  if (given.audio || given.text) say(missing.length ? `Still needed: ${missing.map((kind) => names[kind]).join(" and ")}` : "");
  $("window-sizes").hidden = !$("timeline").checked;
}

// ---- the clip

async function take(file) {
  if (state.service.inputs.audio === "unused") return say("This model reads text only", true);
  if (file.size > state.service.limits.bytes) {
    return say(`${file.name} is larger than ${Math.floor(state.service.limits.bytes / 2 ** 20)} MB, the limit here`, true);
  }
  drop();
  state.file = file;
  $("player").src = URL.createObjectURL(file);
  $("clip-name").textContent = file.name;
  $("clip").hidden = $("windows").hidden = false;
  refresh();
  const sound = await decoded(file);
  if (state.file !== file) return;
  state.sound = sound;
  $("wave").hidden = !sound;
  $("clip-length").textContent = sound ? clock(sound.seconds) : "";
  $("timeline").checked = Boolean(sound && sound.seconds > LONG);
  if (sound) drawWave($("wave"), sound.samples);
  refresh();
}

function drop() {
  if (state.file) URL.revokeObjectURL($("player").src);
  $("player").removeAttribute("src");
  state.file = state.sound = null;
  $("file").value = "";
  $("clip").hidden = $("windows").hidden = true;
  $("timeline").checked = false;
  $("answer").classList.add("stale");
  say("");
}

async function record() {
  if (state.recording) {
    const recording = state.recording;
    state.recording = null;
    $("record").classList.remove("recording");
    $("record-word").textContent = "Record";
    return take(await recording.stop());
  }
  try {
    say("Asking for the microphone …");
    state.recording = await Recording.start((seconds, block) => {
      const loud = block.reduce((peak, x) => Math.max(peak, Math.abs(x)), 0);
      say(`Recording ${clock(seconds)} ${"▮".repeat(Math.min(8, Math.ceil(8 * loud)))}`);
    });
    drop();
    $("record").classList.add("recording");
    $("record-word").textContent = "Stop";
    refresh();
  } catch (error) {
    say(`The microphone cannot be used: ${error.message}`, true);
  }
}

// ---- the answer

async function predict() {
  const body = new FormData();
  const text = $("text").value.trim();
  if (state.file) body.append("audio", state.file, state.file.name);
  if (text && state.service.inputs.text !== "unused") body.append("text", text);
  const query = new URLSearchParams({ details: "true" });
  const timeline = state.file && $("timeline").checked;
  if (timeline) {
    query.set("window", $("window").value);
    query.set("hop", $("hop").value);
  }
  $("predict").disabled = true;
  $("result").setAttribute("aria-busy", "true");
  say("Predicting …");
  const begun = performance.now();
  try {
    const response = await fetch(`predict?${query}`, { method: "POST", body });
    const answer = await response.json();
    if (!response.ok) return refused(answer);
    say(`Answered in ${((performance.now() - begun) / 1000).toFixed(2)} s`);
    state.answer = answer;
    state.chosen = 0;
    show();
  } catch {
    say("The service does not answer; is it still running?", true);
  } finally {
    $("predict").disabled = false;
    $("result").removeAttribute("aria-busy");
  }
}

function refused(answer) {
  say(answer.detail, true);
  $("answer").hidden = true;
  $("empty").hidden = false;
  if (answer.code !== "not_audio" || !state.sound) return;
  const again = element("button", { type: "button", className: "link", textContent: "Convert it to WAV here" });
  again.onclick = () => take(new File([wav(state.sound.samples, state.sound.rate)], `${state.file.name}.wav`, { type: "audio/wav" }));
  $("status").append(" ", again);
}

// A row holds probabilities of labels (scores), or numbers on scales (values).
function share(row, label) {
  const scale = state.service.scales?.[label];
  const value = (row.values ?? row.scores)[label] ?? 0;
  return scale ? Math.max(0, Math.min(1, (value - scale[0]) / (scale[1] - scale[0]))) : value;
}

const shown = (row, label) => row.values ? row.values[label].toFixed(2) : percent(row.scores[label]);
const verdict = (row) => row.values
  ? state.service.labels.map((label) => `${label} ${shown(row, label)}`).join(", ")
  : `${row.label}, ${percent(row.score)}`;

function bars(row) {
  const found = row.values ?? row.scores;
  const best = row.values ? null : Object.keys(found)[0];
  return state.service.labels.filter((label) => label in found).map((label) => {
    const fill = element("div", { className: "fill" });
    fill.style.width = percent(share(row, label)).replace(" ", "");
    fill.style.background = colour(label);
    return element("div", { className: label === best ? "row best" : "row" },
      element("span", { className: "name", textContent: label }),
      element("div", { className: "track" }, fill),
      element("span", { className: "value", textContent: shown(row, label) }));
  });
}

function show() {
  const { rows, members, failed, system } = state.answer;
  const timeline = "start" in rows[0];
  $("empty").hidden = true;
  $("answer").hidden = false;
  $("answer").classList.remove("stale");
  $("strip").hidden = !timeline;
  if (timeline) {
    state.redraw = drawTimeline(rows, { labels: state.service.labels, share, stacked: !state.service.scales, colour, choose, clock });
    $("legend").replaceChildren(...state.service.labels.map((label) => {
      const mark = element("i");
      mark.style.background = colour(label);
      return element("span", {}, mark, label);
    }));
  }
  const lost = Object.entries(failed).map(([id, reason]) => `${id}: not predicted: ${reason}`);
  const few = lost.length > 5 ? [...lost.slice(0, 5), `… and ${lost.length - 5} more windows`] : lost;
  state.notes = [...few, ...state.answer.notes];
  $("json").textContent = JSON.stringify(timeline ? rows : { rows, members, system }, null, 1);
  choose(0);
  $("result").focus({ preventScroll: window.innerWidth > 800 });
}

function choose(place) {
  const { rows, members, flags } = state.answer;
  state.chosen = Math.max(0, Math.min(rows.length - 1, place));
  const row = rows[state.chosen];
  const span = "start" in row ? `${clock(row.start)} – ${clock(row.end)}` : "";
  $("answer-of").textContent = span ? `Window ${state.chosen + 1} of ${rows.length}, ${span}` : row.id;
  $("label").textContent = row.values ? verdict(row) : row.label;
  $("label").style.color = row.values ? "" : colour(row.label);
  $("score").textContent = row.values ? "" : percent(row.score);
  $("bars").replaceChildren(...bars(row));
  const remarks = [row.remark, ...new Set([...(flags[row.recording] ?? []), ...(flags[row.id] ?? [])].map((flag) => FLAGS[flag] ?? flag))].filter(Boolean);
  $("remarks").replaceChildren(...[...remarks, ...state.notes].map((line) => element("li", { textContent: line })));
  const names = Object.keys(members);
  $("members").hidden = names.length < 2;
  $("member-list").replaceChildren(...names.map((name) => {
    const own = members[name].find((one) => one.id === row.id);
    const reads = (state.service.members[name] ?? []).join(" + ");
    return element("div", { className: "member" },
      element("h4", { textContent: name }, element("span", { textContent: reads })), ...(own ? bars(own) : []));
  }));
  const chart = $("chart");
  chart.setAttribute("aria-valuemax", rows.length - 1);
  chart.setAttribute("aria-valuenow", state.chosen);
  chart.setAttribute("aria-valuetext", `${span}: ${verdict(row)}`);
  state.redraw?.(state.chosen);
}

const FLAGS = {
  unlike_training: "",  // the row's own remark says so
  clipped: "Clipped: the recording was too loud for its microphone",
  silent: "Silent: hardly any signal in the recording",
  silent_channel: "One channel of the recording is silent",
  cancelled_downmix: "The channels of the recording cancel each other",
  truncated_audio: "Only the beginning of the recording was used: it is longer than the model reads",
  truncated_tokens: "Only the beginning of the text was used: it is longer than the model reads",
  chunked: "Long: the model read the recording piece by piece",
  size_unknown: "The file does not say how long it is",
  longer_than_header: "The file is longer than it says",
  damaged: "Some of the sound is missing or cannot be decoded",
  unfinished: "The file ends without its end mark",
  gaps: "The file has pauses in its time stamps, which are closed up",
  several_tracks: "The file has several tracks; one was read",
};

// ---- events

$("form").addEventListener("submit", (event) => { event.preventDefault(); predict(); });
$("record").addEventListener("click", record);
$("remove").addEventListener("click", () => { drop(); refresh(); });
$("file").addEventListener("change", () => $("file").files[0] && take($("file").files[0]));
for (const id of ["text", "timeline", "window", "hop"]) $(id).addEventListener("input", outdate);
$("chart").addEventListener("keydown", (event) => {
  const step = { ArrowLeft: -1, ArrowRight: 1, PageUp: -10, PageDown: 10, Home: -Infinity, End: Infinity }[event.key];
  if (step === undefined) return;
  event.preventDefault();
  choose(state.chosen + step);
  seek();
});
$("chart").addEventListener("click", (event) => {
  const box = $("chart").getBoundingClientRect();
  const { rows } = state.answer;
  const seconds = ((event.clientX - box.left) / box.width) * rows.at(-1).end;
  choose(rows.findLastIndex((row) => row.start <= seconds));
  seek();
});
$("player").addEventListener("timeupdate", () => {
  if (!$("answer").classList.contains("stale")) state.redraw?.(state.chosen, $("player").currentTime);
});
for (const name of ["dragover", "dragleave", "drop"]) {
  window.addEventListener(name, (event) => {
    event.preventDefault();
    $("drop").classList.toggle("over", name === "dragover");
    if (name === "drop" && event.dataTransfer.files[0]) take(event.dataTransfer.files[0]);
  });
}
window.addEventListener("resize", () => {
  if (state.sound) drawWave($("wave"), state.sound.samples);
  state.redraw?.(state.chosen);
});

function seek() {
  const row = state.answer.rows[state.chosen];
  if (!$("answer").classList.contains("stale") && "start" in row) $("player").currentTime = row.start;
}

introduce().catch(() => say("The service does not answer; is it still running?", true));
