// The API as /openapi.json describes it.
const $ = (id) => document.getElementById(id);

function element(name, text = "", className = "", ...children) {
  const node = Object.assign(document.createElement(name), { className });
  node.append(text, ...children);
  return node;
}

const listed = (pairs) => element("dl", "", "", ...pairs.flatMap(([term, text]) => [element("dt", term), element("dd", text)]));

function section(path, verb, operation) {
  const parts = [element("h2", "", "", element("span", verb.toUpperCase(), "verb"), element("code", path)),
    element("p", operation.description ?? operation.summary ?? "")];
  const bodies = Object.entries(operation.requestBody?.content ?? {});
  if (bodies.length) {
    parts.push(element("h3", "Body"), listed(bodies.map(([kind, { schema }]) =>
      [kind, Object.keys(schema.properties ?? {}).join(", ") || "the bytes of a file"])));
  }
  if (operation.parameters?.length) {
    parts.push(element("h3", "Parameters"), listed(operation.parameters.map((one) => [one.name, one.description ?? ""])));
  }
  const answers = Object.entries(operation.responses ?? {}).filter(([, one]) => one.description);
  if (answers.length > 1) parts.push(element("h3", "Answers"), listed(answers.map(([status, one]) => [status, one.description])));
  return element("section", "", "card operation", ...parts);
}

const api = await (await fetch("openapi.json")).json();
$("about").textContent = api.info.summary ?? "";
const predict = new URL("predict", location.href);
$("examples").textContent = [
  `curl -F audio=@clip.wav -F text="what is said" ${predict}`,
  `curl -H "Content-Type: audio/wav" --data-binary @clip.wav ${predict}`,
  `curl -H "Content-Type: application/json" -d '{"text": "what a day"}' ${predict}`,
].join("\n");
for (const [path, verbs] of Object.entries(api.paths)) {
  for (const [verb, operation] of Object.entries(verbs)) $("operations").append(section(path, verb, operation));
}
