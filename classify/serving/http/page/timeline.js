// A timeline: for each window one column of stacked probabilities, or a mark at each number.
const SPACE = "http://www.w3.org/2000/svg";
const TALL = 140;

function shape(name, attributes, text) {
  const node = document.createElementNS(SPACE, name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  if (text !== undefined) node.textContent = text;
  return node;
}

// Draw rows into #chart; gives a function that marks the chosen window and the place that is heard.
export function drawTimeline(rows, { labels, share, stacked, colour, clock }) {
  const chart = document.getElementById("chart");
  const length = rows.at(-1).end;
  return (chosen, heard) => {
    const width = chart.clientWidth;
    const at = (seconds) => (seconds / length) * width;
    const svg = shape("svg", { viewBox: `0 0 ${width} 172`, "aria-hidden": "true" });
    svg.append(shape("rect", { x: 0, y: 0, width, height: TALL, class: "gap" }));
    rows.forEach((row, i) => { // a column ends where the next window begins
      const next = i + 1 < rows.length ? Math.min(rows[i + 1].start, row.end) : row.end;
      const gap = at(next - row.start) > 6 ? 1.5 : 0;
      let below = TALL;
      for (const label of labels) {
        const height = share(row, label) * TALL;
        const tall = stacked ? height : 4;
        below = stacked ? below - height : Math.min(TALL - height, TALL - tall);
        const column = shape("rect", { x: at(row.start), y: below, width: Math.max(1, at(next - row.start) - gap), height: tall });
        column.style.fill = colour(label);
        svg.append(column);
      }
    });
    const { start, end } = rows[chosen];
    svg.append(shape("rect", { x: at(start), y: 0, width: Math.max(2, at(end - start)), height: TALL, rx: 3, class: "chosen" }));
    if (heard) svg.append(shape("line", { x1: at(heard), x2: at(heard), y1: 0, y2: TALL, class: "head" }));
    const ticks = width < 500 ? 3 : 6;
    for (let i = 0; i <= ticks; i++) {
      const anchor = i === 0 ? "start" : i === ticks ? "end" : "middle";
      svg.append(shape("text", { x: (i / ticks) * width, y: 162, "text-anchor": anchor }, clock((i / ticks) * length)));
    }
    chart.replaceChildren(svg);
  };
}
