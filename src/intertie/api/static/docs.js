"use strict";
// Reads /openapi.json, lists the operations, and lets one try them. Everything shown is put in as text, never as HTML.

const $ = (id) => document.getElementById(id);
const state = { document: null };

function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value !== null && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null && child !== ""));
  return element;
}

// `code`, **bold** and paragraphs: all that our descriptions use.
function prose(text) {
  return (text || "").split(/\n\s*\n/).filter(Boolean).map((paragraph) => make("p", {},
    ...paragraph.split(/(`[^`]+`|\*\*[^*]+\*\*)/).map((part) =>
      part.startsWith("`") ? make("code", {}, part.slice(1, -1)) :
      part.startsWith("**") ? make("b", {}, part.slice(2, -2)) : part)));
}

function resolve(schema) {
  while (schema && schema.$ref) {
    schema = schema.$ref.split("/").slice(1).reduce((at, key) => at[key], state.document);
  }
  return schema || {};
}

function example(schema, depth = 0) {
  schema = resolve(schema);
  if (schema.examples) return schema.examples[0];
  if (schema.default !== undefined) return schema.default;
  if (schema.enum) return schema.enum[0];
  const options = schema.anyOf || schema.oneOf;
  if (options) return options.some((o) => o.type === "null") ? null : example(options[0], depth);
  if (schema.type === "array") return depth > 4 ? [] : [example(schema.items, depth + 1)];
  if (schema.type === "object") {
    const fields = Object.entries(schema.properties || {}).map(([key, value]) => [key, example(value, depth + 1)]);
    return Object.fromEntries(fields.filter(([key, value]) => (schema.required || []).includes(key) || value));
  }
  return { integer: 0, number: 0, boolean: false, null: null }[schema.type] ?? "";
}

function coloured(text) {
  const parts = text.split(/("(?:[^"\\]|\\.)*"(?:\s*:)?|\btrue\b|\bfalse\b|\bnull\b|-?\d[\d.eE+-]*)/);
  return parts.map((part, at) => at % 2 === 0 ? part :
    make("span", { class: part.endsWith(":") ? "key" : part.startsWith('"') ? "string" : "other" }, part));
}

function pretty(text, type) {
  if (!/json/.test(type || "")) return [text];
  try { return coloured(JSON.stringify(JSON.parse(text), null, 2)); } catch { return [text]; }
}

// ── One operation ──────────────────────────────────────────────────────────────────────────────────────────

function parameterRow(parameter) {
  const schema = resolve(parameter.schema);
  const input = make("input", {
    "data-in": parameter.in, name: parameter.name, spellcheck: "false", required: parameter.required || false,
    placeholder: parameter.required ? "needed" : schema.default !== undefined && schema.default !== "" ? String(schema.default) : "",
    "aria-label": parameter.name,
  });
  return make("tr", {}, make("td", {}, make("code", {}, parameter.name), make("p", { class: "quiet" }, parameter.in)),
    make("td", {}, input, ...prose(parameter.description || schema.description).map((p) => (p.className = "quiet", p))));
}

function responseRow([status, response]) {
  return make("tr", {}, make("td", {}, make("b", { class: status < 400 ? "ok" : "bad" }, status)),
    make("td", {}, ...prose(response.description)));
}

function request(method, path, form) {
  const query = new URLSearchParams();
  const headers = {};
  for (const input of form.querySelectorAll("[data-in]")) {
    const value = input.value.trim();
    if (input.dataset.in === "path") path = path.replace(`{${input.name}}`, encodeURIComponent(value));
    else if (value && input.dataset.in === "query") query.append(input.name, value);
    else if (value) headers[input.name] = value;
  }
  if ($("token").value.trim()) headers.Authorization = `Bearer ${$("token").value.trim()}`;
  const text = form.querySelector("textarea");
  if (text && text.value.trim()) headers["Content-Type"] = "application/json";
  return { url: path + (query.size ? `?${query}` : ""), method: method.toUpperCase(), headers, body: text?.value.trim() || undefined };
}

function curl({ url, method, headers, body }) {
  const quote = (text) => `'${text.replaceAll("'", "'\\''")}'`;
  const shown = Object.entries(headers).map(([name, value]) =>
    `-H ${name === "Authorization" ? '"Authorization: Bearer $INTERTIE_TOKEN"' : quote(`${name}: ${value}`)}`);
  return ["curl", method === "GET" ? "" : `-X ${method}`, ...shown, body ? `-d ${quote(body)}` : "", quote(location.origin + url)]
    .filter(Boolean).join(" ");
}

async function send(method, path, form, out) {
  const wanted = request(method, path, form);
  const stop = new AbortController();
  const stopping = make("button", { type: "button", onclick: () => stop.abort() }, "Stop");
  const line = make("div", { class: "row" }, make("span", { class: "quiet" }, "waiting …"), stopping);
  out.replaceChildren(make("h3", {}, "As a command"), make("pre", {}, curl(wanted)), make("h3", {}, "Answer"), line);
  const begun = performance.now();
  try {
    const response = await fetch(wanted.url, { ...wanted, signal: stop.signal, cache: "no-store" });
    const type = response.headers.get("Content-Type") || "";
    const kept = ["ETag", "Location", "Preference-Applied", "Retry-After", "X-Request-Id"].filter((h) => response.headers.has(h));
    line.replaceChildren(make("b", { class: response.ok ? "ok" : "bad" }, `${response.status} ${response.statusText}`),
      make("span", { class: "quiet" }, `${Math.round(performance.now() - begun)} ms`),
      make("span", { class: "quiet" }, kept.map((h) => `${h}: ${response.headers.get(h)}`).join("  ")), stopping);
    if (response.headers.has("ETag")) remember(response.headers.get("ETag"));
    const box = make("pre");
    out.append(box);
    if (type.startsWith("text/event-stream")) await follow(response, box);
    else box.append(...pretty(await response.text() || "(nothing more)", type));
    stopping.remove();
  } catch (error) {
    if (stop.signal.aborted) stopping.replaceWith(make("span", { class: "quiet" }, "stopped"));
    else line.replaceChildren(make("b", { class: "bad" }, `no answer: ${error.message}`));
  }
}

async function follow(response, box) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  for (let part = await reader.read(); !part.done; part = await reader.read()) {
    box.append(part.value);
    box.scrollTop = box.scrollHeight;
  }
}

// The version last seen is most often the one that a change is meant for.
function remember(etag) {
  for (const input of document.querySelectorAll('input[name="if-match" i]')) if (!input.value || input.dataset.seen) {
    input.value = etag;
    input.dataset.seen = "1";
  }
}

function operation(path, method, told) {
  const id = `op-${told.operationId}`;
  const out = make("div", { "aria-live": "polite" });
  const body = told.requestBody?.content?.["application/json"]?.schema;
  const parameters = (told.parameters || []).filter((p) => p.name.toLowerCase() !== "authorization");
  const form = make("form", { onsubmit: (event) => { event.preventDefault(); send(method, path, form, out); } },
    parameters.length ? make("h3", {}, "Parameters") : "",
    parameters.length ? make("table", {}, ...parameters.map(parameterRow)) : "",
    body ? make("h3", {}, "Body") : "",
    body ? make("textarea", { spellcheck: "false", "aria-label": "body" }, JSON.stringify(example(body), null, 2)) : "",
    make("div", { class: "row" }, make("button", { class: "send" }, "Send")));
  return make("details", { id, "data-text": `${method} ${path} ${told.summary} ${told.description}`.toLowerCase() },
    make("summary", {}, make("span", { class: `method ${method}` }, method), make("span", { class: "path" }, path),
      told["x-role"] ? make("span", { class: "role" }, told["x-role"]) : "", make("span", { class: "what" }, told.summary || "")),
    make("div", { class: "inside" }, ...prose(told.description), form, out, make("h3", {}, "What may come back"),
      make("table", {}, ...Object.entries(told.responses).map(responseRow))));
}

// ── The page ───────────────────────────────────────────────────────────────────────────────────────────────

function problemTable(problems) {
  const rows = Object.entries(problems).map(([code, { status, title }]) =>
    make("tr", { id: `problem-${code}` }, make("td", {}, make("code", {}, code)), make("td", {}, `${status} `, title)));
  return [make("h2", { id: "problems" }, "Problems"), make("p", { class: "quiet" },
    "Every error is one of these, as application/problem+json (RFC 9457)."), make("table", {}, ...rows)];
}

function draw(told) {
  const main = [make("div", {}, ...prose(told.info.description))];
  const nav = [];
  for (const tag of told.tags) {
    const found = Object.entries(told.paths).flatMap(([path, methods]) => Object.entries(methods)
      .filter(([, each]) => (each.tags || []).includes(tag.name)).map(([method, each]) => [path, method, each]));
    main.push(make("h2", {}, tag.name), make("p", { class: "quiet" }, tag.description), ...found.map((each) => operation(...each)));
    nav.push(make("b", {}, tag.name), ...found.map(([, , each]) => make("a", { href: `#op-${each.operationId}` }, each.summary)));
  }
  nav.push(make("b", {}, "more"), make("a", { href: "#problems" }, "Problems"), make("a", { href: "/openapi.json" }, "openapi.json"));
  $("main").replaceChildren(...main, ...problemTable(told["x-problems"] || {}));
  $("nav").replaceChildren(...nav);
}

function show() {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (target instanceof HTMLDetailsElement) target.open = true;
  target?.scrollIntoView();
}

function find() {
  const words = $("find").value.toLowerCase().split(/\s+/);
  for (const each of document.querySelectorAll("details")) each.hidden = !words.every((w) => each.dataset.text.includes(w));
}

async function greet() {
  const token = $("token").value.trim();
  sessionStorage.setItem("token", token);
  const response = token ? await fetch("/v1/site", { headers: { Authorization: `Bearer ${token}` } }) : null;
  $("who").textContent = !response ? "a token is needed for all under /v1" : response.ok ? "" : "this token is not known here";
  if (response?.ok) $("site").textContent = `at ${(await response.json()).name}`;
}

async function begin() {
  $("token").value = sessionStorage.getItem("token") || "";
  $("token").addEventListener("change", greet);
  $("find").addEventListener("input", find);
  addEventListener("hashchange", show);
  const response = await fetch("/openapi.json");
  state.document = await response.json();
  draw(state.document);
  show();
  await greet();
}

begin().catch((error) => $("main").replaceChildren(make("p", { class: "bad" }, `The page could not begin: ${error.message}`)));
