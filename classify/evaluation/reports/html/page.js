"use strict";
(() => {
  const make = (tag, properties, ...children) => {
    const node = Object.assign(document.createElement(tag), properties);
    node.append(...children);
    return node;
  };
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];

  // Tables: a button in each heading sorts the rows.
  const value = (row, column) => {
    const text = (row.cells[column]?.textContent ?? "").trim();
    const match = text.match(/^[^\d+\-−▲▼·]{0,3}[▲▼·]?\s*([+\-−]?[\d.,]+)/);
    const number = match ? Number(match[1].replace("−", "-").replaceAll(",", "")) : NaN;
    return { text, number };
  };
  const sortBy = (table, column, heading) => {
    const up = heading.getAttribute("aria-sort") === "descending";
    all("th[aria-sort]", table).forEach((one) => one.removeAttribute("aria-sort"));
    heading.setAttribute("aria-sort", up ? "ascending" : "descending");
    const rows = [...table.tBodies[0].rows].map((row) => [value(row, column), row]);
    const numbers = rows.filter(([one]) => !Number.isNaN(one.number)).length;
    const asNumbers = column > 0 && numbers * 2 > rows.length;
    rows.sort(([a], [b]) => {
      if (!asNumbers) return (up ? -1 : 1) * a.text.localeCompare(b.text);
      if (Number.isNaN(a.number) || Number.isNaN(b.number)) {
        return Number.isNaN(a.number) - Number.isNaN(b.number);
      }
      return (up ? 1 : -1) * (a.number - b.number);
    });
    table.tBodies[0].append(...rows.map(([, row]) => row));
  };
  for (const table of all("table.sortable")) {
    if (table.tBodies[0].rows.length < 2) continue;
    for (const heading of table.tHead.rows[0].cells) {
      if (heading.tagName !== "TH" || heading.querySelector("svg")) continue;
      const button = make("button", { type: "button" }, ...heading.childNodes);
      heading.append(button);
      button.addEventListener("click", () => sortBy(table, heading.cellIndex, heading));
    }
  }

  // Folds: all at once, for print, and for a link to what is inside.
  const folds = all("main > details, main section > details");
  const tools = document.getElementById("tools");
  const toggle = make("button", { type: "button", id: "open-all" }, "Open all sections");
  toggle.addEventListener("click", () => {
    const open = folds.some((one) => !one.open);
    folds.forEach((one) => { one.open = open; });
    toggle.textContent = open ? "Close all sections" : "Open all sections";
  });
  if (folds.length) tools.append(toggle);
  let closed = [];
  addEventListener("beforeprint", () => {
    closed = folds.filter((one) => !one.open && one.id !== "clips");
    closed.forEach((one) => { one.open = true; });
  });
  addEventListener("afterprint", () => closed.forEach((one) => { one.open = false; }));
  const reveal = (name) => {
    const target = name && document.getElementById(name);
    if (target?.tagName !== "DETAILS") return;
    target.open = true;
    target.querySelector("summary").focus({ preventScroll: true });
    target.scrollIntoView();
  };
  const named = () => decodeURIComponent(location.hash.slice(1));
  addEventListener("hashchange", () => reveal(named()));

  // Clips: drawn a page at a time from the data at the end of this file.
  const source = document.getElementById("clips-data");
  const home = document.getElementById("browser");
  if (source && home) {
    const data = JSON.parse(source.textContent);
    const clips = data.rows.map(([id, text, audio, start, end, language, speaker, truth, answers],
      place) => ({ id, text, audio, start, end, language, speaker, truth, answers, place }));
    const best = data.systems[0];
    const found = (clip) => [clip.id, clip.text].join("\n").toLocaleLowerCase();
    const PAGE = 20;
    let first = 0;
    const choice = (id, title, options) => {
      const select = make("select", { id });
      for (const [key, name] of options) select.append(make("option", { value: key }, name));
      select.addEventListener("change", () => { first = 0; draw(); });
      controls.append(make("label", {}, title, select));
      return select;
    };
    const entry = (id, title, hint) => {
      const input = make("input", { id, type: "search", placeholder: hint, autocomplete: "off" });
      input.addEventListener("input", () => { first = 0; draw(); });
      controls.append(make("label", {}, title, input));
      return input;
    };
    const controls = make("div", { className: "controls" });
    const several = (name) => [...new Set(clips.map((clip) => clip[name]))].sort();
    const numbered = (names) => names.map((name, number) => [String(number), name]);
    const said = (properties, content) => make("span", { dir: "auto", ...properties }, content);
    const bar = (share) => {
      const fill = make("span", { className: "fill" });
      fill.style.width = `${100 * share}%`;
      const box = make("span", { className: "bar" }, fill);
      box.setAttribute("aria-hidden", "true");
      return box;
    };
    const ofSystems = (draw) => {
      const systems = make("div", { className: "systems" });
      data.systems.forEach((name, system) => {
        const [note, rows] = draw(system);
        systems.append(make("div", { className: "system" },
          make("p", { className: "name" }, said({}, name), ...note), ...rows));
      });
      return systems;
    };
    const counts = (shown) => `${shown.toLocaleString("en")} of ${data.clips.toLocaleString("en")}`;

    // Tasks of labels: answers as bars of probability.
    const labels = () => {
      for (const clip of clips) {
        clip.answers = clip.answers.map((flat) => {
          const pairs = [];
          for (let at = 0; at < flat.length; at += 2) pairs.push([flat[at], flat[at + 1]]);
          return pairs;
        });
      }
      const own = (clip, system) => clip.answers[system][0][0];
      const differ = (clip) => clip.answers.some((one) => one[0][0] !== own(clip, 0));
      const error = choice("clips-kind", "Clips", [
        ["", "all of these"], ["differ", "systems differ"], ["wrong", `${best} is wrong`],
        ["alone", `only ${best} is wrong`], ["none", "every system is wrong"],
      ]);
      const wrongs = choice("clips-system", "Wrong",
        [["", "any system"], ...numbered(data.systems)]);
      const label = choice("clips-label", "Label", [["", "any"], ...numbered(data.labels)]);
      const answer = choice("clips-answer", `${best} says`, [["", "any"], ...numbered(data.labels)]);
      return {
        summary: `On ${counts(data.found)} test clips, systems differ or ${best} is wrong.`,
        orders: [
          ["place", "surely wrong first", (a, b) => a.place - b.place],
          ["unsure", "least sure first", (a, b) => a.answers[0][0][1] - b.answers[0][0][1]],
        ],
        kept: (clip) => {
          const right = clip.answers.map((_, system) => own(clip, system) === clip.truth);
          const others = right.slice(1);
          if (error.value === "differ" && !differ(clip)) return false;
          if (error.value === "wrong" && right[0]) return false;
          if (error.value === "alone" && (right[0] || others.some((one) => !one))) return false;
          if (error.value === "none" && right.some((one) => one)) return false;
          if (wrongs.value && right[Number(wrongs.value)]) return false;
          if (label.value && clip.truth !== Number(label.value)) return false;
          return !answer.value || own(clip, 0) === Number(answer.value);
        },
        answers: (clip) => [
          make("p", { className: "truth" }, "label ",
            make("strong", { dir: "auto" }, data.labels[clip.truth])),
          ofSystems((system) => {
            const right = own(clip, system) === clip.truth;
            const note = make("span", { className: right ? "right" : "wrong" },
              right ? "✓ right" : "✗ wrong");
            const rows = clip.answers[system].map(([number, probability]) => make("p",
              { className: number === clip.truth ? "answer-row true" : "answer-row" },
              said({ className: "label" }, data.labels[number]), bar(probability),
              make("span", { className: "number" }, probability.toFixed(2))));
            return [[note], rows];
          }),
        ],
      };
    };

    // Tasks of numbers: predictions next to the rating, on the scale.
    const numbers = () => {
      const scales = Object.entries(data.dimensions);
      const share = (value, [low, high]) => Math.min(1, Math.max(0, (value - low) / (high - low)));
      const off = (clip, at) => clip.truth[at] === null ? -1
        : Math.abs(clip.answers[0][at] - clip.truth[at]);
      const row = (name, value, scale, className) => make("p", { className },
        said({ className: "label" }, name), bar(share(value, scale)),
        make("span", { className: "number" }, value.toFixed(2)));
      return {
        summary: `All ${data.clips.toLocaleString("en")} test clips; the errors are those of ${best}.`,
        orders: [
          ["place", "largest error", (a, b) => a.place - b.place],
          ...scales.map(([name], at) => [
            `off-${at}`, `largest error in ${name}`, (a, b) => off(b, at) - off(a, at),
          ]),
        ],
        kept: () => true,
        answers: (clip) => [
          make("div", { className: "systems" }, make("div", { className: "system" },
            make("p", { className: "name" }, "rating"),
            ...scales.map(([name, scale], at) => clip.truth[at] === null
              ? make("p", { className: "answer-row" }, said({ className: "label" }, name), "not rated")
              : row(name, clip.truth[at], scale, "answer-row true")))),
          ofSystems((system) => [[], scales.map(([name, scale], at) =>
            row(name, clip.answers[system][at], scale, "answer-row"))]),
        ],
      };
    };
    const kind = (data.dimensions ? numbers : labels)();
    const languages = several("language");
    const speakers = new Set(several("speaker").filter(Boolean));
    const language = choice("clips-language", "Language",
      [["", "any"], ...languages.map((one, n) => [String(n + 1), one || "(blank)"])]);
    const speaker = entry("clips-speaker", "Speaker", "part of a name");
    const text = entry("clips-text", "Text or id", "part of it");
    const order = choice("clips-order", "Order", [
      ...kind.orders.map(([key, name]) => [key, name]), ["id", "id"],
    ]);
    const status = make("p", { id: "clips-status", className: "note" });
    status.setAttribute("role", "status");
    const list = make("ol", { className: "clips" });
    const step = (id, name, by) => {
      const button = make("button", { type: "button", id }, name);
      button.addEventListener("click", () => { first += by; draw(); list.scrollIntoView(); });
      return button;
    };
    const before = step("clips-before", "Previous", -PAGE);
    const after = step("clips-after", "Next", PAGE);
    const some = data.found > clips.length
      ? ` The page holds the ${clips.length.toLocaleString("en")} with the worst errors of ${best}; ` +
        "members/ has the predictions of all." : "";
    home.append(
      make("p", { className: "note" }, `${kind.summary}${some}`),
      controls, status, list, make("div", { className: "steps" }, before, after));

    const kept = (clip) => {
      if (!kind.kept(clip)) return false;
      if (language.value && clip.language !== languages[Number(language.value) - 1]) return false;
      const who = speaker.value.toLocaleLowerCase();
      if (speakers.has(speaker.value) ? clip.speaker !== speaker.value
        : !clip.speaker.toLocaleLowerCase().includes(who)) return false;
      const what = text.value.toLocaleLowerCase();
      return !what || found(clip).includes(what);
    };
    const sorted = {
      ...Object.fromEntries(kind.orders.map(([key, , compare]) => [key, compare])),
      id: (a, b) => a.id.localeCompare(b.id, undefined, { numeric: true }),
    };
    const card = (clip) => {
      const about = [said({ className: "id" }, clip.id)];
      if (clip.language) about.push(said({}, clip.language));
      if (clip.speaker) about.push(said({}, clip.speaker));
      const body = make("li", {}, make("p", { className: "about" }, ...about));
      if (clip.text) body.append(make("p", { className: "text", dir: "auto" }, clip.text));
      if (clip.audio) {
        const time = clip.start === null && clip.end === null ? ""
          : `#t=${clip.start ?? 0}${clip.end === null ? "" : `,${clip.end}`}`;
        const player = make("audio", { controls: true, preload: "none", src: clip.audio + time });
        player.setAttribute("aria-label", `Recording of ${clip.id}`);
        body.append(player);
      }
      body.append(...kind.answers(clip));
      return body;
    };
    const draw = () => {
      const shown = clips.filter(kept).sort(sorted[order.value]);
      first = Math.max(0, Math.min(first, shown.length - 1));
      first -= first % PAGE;
      const last = Math.min(first + PAGE, shown.length);
      status.textContent = shown.length
        ? `${(first + 1).toLocaleString("en")} to ${last.toLocaleString("en")} of ` +
          `${shown.length.toLocaleString("en")} clips`
        : "No clip fits these filters";
      list.start = first + 1;
      list.replaceChildren(...shown.slice(first, last).map(card));
      before.disabled = first === 0;
      after.disabled = last >= shown.length;
    };
    const fold = document.getElementById("clips");
    let drawn = false;
    const begin = () => { if (!drawn) { drawn = true; draw(); } };
    fold.addEventListener("toggle", () => { if (fold.open) begin(); });
    for (const link of all("a[data-column]")) {
      if (!clips.some((clip) => clip[link.dataset.column] === link.dataset.value)) {
        link.replaceWith(...link.childNodes);
      }
      link.addEventListener("click", () => {
        language.value = "";
        speaker.value = "";
        if (link.dataset.column === "language") {
          language.value = String(languages.indexOf(link.dataset.value) + 1);
        } else {
          speaker.value = link.dataset.value;
        }
        first = 0;
        drawn = true;
        draw();
        reveal("clips");
      });
    }
  } else {
    for (const link of all("a[data-column]")) link.replaceWith(...link.childNodes);
  }
  if (location.hash) reveal(named());
})();
