// The page at `/`: runs queries over POST /graphql and subscriptions over /graphql/ws, and shows the
// schema that the server describes. It needs nothing but this server.
"use strict";

const EXAMPLES = {
  query: [
    ["Head", `query Head {
  head { seq blockNumber blockHash timestamp finality lagBlocks chainId }
}`, ""],
    ["Protocols with metrics and risk", `query Protocols {
  protocols {
    id
    name
    risk { score formula blockNumber components { utilization volatility liquidity audit age } }
    absent { field reason detail }
    metrics {
      market asset utilizationBps turnoverBps volatilityBps liquidityClass priceUsdc tvlUsdc
      absent { field reason }
    }
  }
}`, ""],
    ["A protocol as of a block", `query AsOf($id: String!, $atBlock: Int) {
  protocol(id: $id, atBlock: $atBlock) {
    id
    name
    risk { score inputs { utilizationBps volatilityBps liquidityClass auditScore ageDays } }
    absent { field reason detail }
    metrics { market asset tvlUsdc blockNumber }
  }
}`, `{ "id": "zklend", "atBlock": null }`],
    ["Risk history and its causes", `query History($protocol: String!, $last: Int, $before: String) {
  riskHistory(protocol: $protocol, last: $last, before: $before) {
    nodes {
      seq score blockNumber timestamp
      causes { seq fromSeq toSeq selector count digest }
    }
    pageInfo { hasPreviousPage startCursor }
  }
}`, `{ "protocol": "zklend", "last": 10, "before": null }`],
    ["Events", `query Events($filter: EventFilter, $first: Int, $after: String) {
  events(filter: $filter, first: $first, after: $after) {
    nodes { seq protocol name contract decoded blockNumber transactionHash eventIndex timestamp }
    pageInfo { hasNextPage endCursor }
  }
}`, `{ "filter": { "protocols": ["ekubo"] }, "first": 10, "after": null }`],
  ],
  subscription: [
    ["New blocks", `subscription Head {
  head { seq blockNumber blockHash finality lagBlocks }
}`, ""],
    ["Risk scores as they are recorded", `subscription Scores($protocol: String, $after: String) {
  riskScored(protocol: $protocol, after: $after) { protocol score blockNumber seq cursor }
}`, `{ "protocol": null, "after": null }`],
  ],
};

const MESSAGES_SHOWN = 50;

const INTROSPECTION = `query Introspection {
  __schema {
    queryType { name }
    subscriptionType { name }
    types {
      kind name description
      fields { name description args { name description defaultValue type { ...Type } } type { ...Type } }
      inputFields { name description defaultValue type { ...Type } }
      enumValues { name description }
    }
  }
}
fragment Type on __Type { kind name ofType { kind name ofType { kind name ofType { kind name } } } }`;

const $ = (id) => document.getElementById(id);


let mode = "query";
let running = null;
const drafts = {};

function variables() {
  const text = $("variables").value.trim();
  if (text === "") return {};
  const value = JSON.parse(text);
  if (value === null || typeof value !== "object" || Array.isArray(value)) {
    throw new Error("variables must be a JSON object");
  }
  return value;
}

function status(text, wrong = false) {
  $("status").textContent = text;
  $("status").classList.toggle("wrong", wrong);
}

async function post(body, signal) {
  const response = await fetch("graphql", {
    method: "POST",
    headers: { "content-type": "application/json", accept: "application/json" },
    body: JSON.stringify(body),
    signal,
  });
  return { status: response.status, body: await response.json() };
}

async function runQuery(payload) {
  const abort = new AbortController();
  setRunning(() => abort.abort());
  const started = performance.now();
  try {
    const answer = await post(payload, abort.signal);
    $("result").textContent = JSON.stringify(answer.body, null, 2);
    const errors = answer.body.errors ? `, ${answer.body.errors.length} error(s)` : "";
    const took = Math.round(performance.now() - started);
    status(`HTTP ${answer.status} in ${took} ms${errors}`, errors !== "");
  } catch (error) {
    status(abort.signal.aborted ? "stopped" : `no answer: ${error.message}`, !abort.signal.aborted);
  } finally {
    setRunning(null);
  }
}

function runSubscription(payload) {
  const address = new URL("graphql/ws", location.href);
  address.protocol = address.protocol === "https:" ? "wss:" : "ws:";
  const socket = new WebSocket(address, "graphql-transport-ws");
  const shown = [];
  let received = 0;
  let ended = "";
  const send = (message) => socket.send(JSON.stringify(message));
  setRunning(() => {
    ended = "stopped";
    socket.close(1000);
  });
  status("connecting");
  $("result").textContent = "";
  socket.onopen = () => send({ type: "connection_init" });
  socket.onmessage = (event) => {
    const message = JSON.parse(event.data);
    if (message.type === "connection_ack") {
      send({ type: "subscribe", id: "1", payload });
      status("waiting for the first message");
    } else if (message.type === "next" || message.type === "error") {
      received += 1;
      shown.unshift(JSON.stringify(message.payload, null, 2));
      shown.length = Math.min(shown.length, MESSAGES_SHOWN);
      $("result").textContent = shown.join("\n\n");
      status(`${received} message(s), newest first`);
    } else if (message.type === "ping") {
      send({ type: "pong" });
    } else if (message.type === "complete") {
      ended = "completed by the server";
      socket.close(1000);
    }
  };
  socket.onclose = (event) => {
    const reason = ended || `closed (${event.code}${event.reason ? `, ${event.reason}` : ""})`;
    status(`${reason}, ${received} message(s)`, ended === "");
    setRunning(null);
  };
}

function setRunning(stop) {
  running = stop;
  $("run").hidden = stop !== null;
  $("stop").hidden = stop === null;
}

function run() {
  if (running) return;
  let payload;
  try {
    payload = { query: $("operation").value, variables: variables() };
  } catch (error) {
    status(`variables: ${error.message}`, true);
    return;
  }
  if (mode === "query") runQuery(payload);
  else runSubscription(payload);
}


function showExamples() {
  const options = EXAMPLES[mode].map(([name], index) => new Option(name, String(index)));
  $("example").replaceChildren(...options);
}

function useExample(index) {
  const [, operation, values] = EXAMPLES[mode][index];
  $("operation").value = operation;
  $("variables").value = values;
}

function selectTab(next) {
  if (running) running();
  drafts[mode] = [$("operation").value, $("variables").value, $("result").textContent];
  mode = next;
  for (const name of ["query", "subscription"]) {
    const tab = $(`tab-${name}`);
    tab.setAttribute("aria-selected", String(name === mode));
    tab.tabIndex = name === mode ? 0 : -1;
  }
  $("work").setAttribute("aria-labelledby", `tab-${mode}`);
  showExamples();
  const draft = drafts[mode];
  if (draft) [$("operation").value, $("variables").value, $("result").textContent] = draft;
  else {
    useExample(0);
    $("result").textContent = "";
  }
  status("");
}


let types = new Map();
let roots = [];
let trail = [];

function element(name, text, className) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  return made;
}

function typeText(type) {
  if (type.kind === "NON_NULL") return `${typeText(type.ofType)}!`;
  if (type.kind === "LIST") return `[${typeText(type.ofType)}]`;
  return type.name;
}

function baseName(type) {
  return type.ofType ? baseName(type.ofType) : type.name;
}

function typeLink(name, text = name) {
  const link = element("button", text, "link");
  link.type = "button";
  link.addEventListener("click", () => openType(name));
  return link;
}

function describe(list, title, description) {
  const term = element("dt");
  term.append(...title);
  list.append(term);
  if (description) list.append(element("dd", description));
}

function fieldList(fields) {
  const list = element("dl");
  for (const field of fields) {
    describe(list, [`${field.name}: `, typeLink(baseName(field.type), typeText(field.type))], field.description);
    for (const argument of field.args || []) {
      const title = [`  ${argument.name}: `, typeLink(baseName(argument.type), typeText(argument.type))];
      describe(list, ["\u00a0\u00a0", ...title], argument.description);
    }
  }
  return list;
}

function openType(name) {
  if (name === null) trail = [];
  else trail = trail.includes(name) ? trail.slice(0, trail.indexOf(name) + 1) : [...trail, name];
  $("find").value = "";
  showDocs();
}

function showDocs() {
  const home = typeLink(null, "Schema");
  $("trail").replaceChildren(home, ...trail.flatMap((name) => [" / ", typeLink(name)]));
  const type = types.get(trail[trail.length - 1]);
  $("doc").replaceChildren(...(type ? typeDoc(type) : overview()));
  $("doc").scrollTop = 0;
}

function typeDoc(type) {
  const parts = [element("h3", `${type.kind.toLowerCase().replace("_", " ")} ${type.name}`)];
  if (type.description) parts.push(element("p", type.description));
  if (type.fields) parts.push(fieldList(type.fields));
  if (type.inputFields) parts.push(fieldList(type.inputFields));
  if (type.enumValues) {
    const list = element("dl");
    for (const value of type.enumValues) describe(list, [value.name], value.description);
    parts.push(list);
  }
  return parts;
}

function overview() {
  const list = element("dl");
  const listed = [...types.values()].filter((type) => !type.name.startsWith("__"));
  const rank = (type) => (roots.includes(type.name) ? roots.indexOf(type.name) : roots.length);
  listed.sort((a, b) => rank(a) - rank(b) || a.name.localeCompare(b.name));
  for (const type of listed) describe(list, [typeLink(type.name)], type.description);
  return [list];
}

function find(text) {
  const wanted = text.trim().toLowerCase();
  if (wanted === "") return showDocs();
  const list = element("dl");
  for (const type of types.values()) {
    if (type.name.startsWith("__")) continue;
    if (type.name.toLowerCase().includes(wanted)) describe(list, [typeLink(type.name)], type.description);
    for (const field of type.fields || type.inputFields || []) {
      if (field.name.toLowerCase().includes(wanted)) {
        describe(list, [typeLink(type.name), `.${field.name}`], field.description);
      }
    }
  }
  $("doc").replaceChildren(list.children.length ? list : element("p", "Nothing found."));
}

async function readSchema() {
  try {
    const { body } = await post({ query: INTROSPECTION });
    const schema = body.data.__schema;
    types = new Map(schema.types.map((type) => [type.name, type]));
    roots = [schema.queryType.name, schema.subscriptionType.name];
    showDocs();
  } catch (error) {
    $("doc").textContent = `The schema cannot be read: ${error.message}`;
  }
}


$("run").addEventListener("click", run);
$("stop").addEventListener("click", () => running && running());
$("example").addEventListener("change", (event) => useExample(Number(event.target.value)));
$("find").addEventListener("input", (event) => find(event.target.value));
for (const name of ["query", "subscription"]) {
  $(`tab-${name}`).addEventListener("click", () => selectTab(name));
  $(`tab-${name}`).addEventListener("keydown", (event) => {
    if (event.key !== "ArrowLeft" && event.key !== "ArrowRight") return;
    selectTab(mode === "query" ? "subscription" : "query");
    $(`tab-${mode}`).focus();
  });
}
$("toggle-docs").addEventListener("click", (event) => {
  const hidden = $("work").classList.toggle("no-docs");
  event.target.setAttribute("aria-expanded", String(!hidden));
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
    event.preventDefault();
    run();
  }
});

showExamples();
useExample(0);
readSchema();
