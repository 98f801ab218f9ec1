// What the EHR side of the service relies on in a FHIR R4 server, asked of one that this project did not write.
// Run by `run-hfs.mjs`, which gives FHIR_BASE_URL and, when the server asks for tokens, FHIR_ACCESS_TOKEN with the
// scopes that `.ci/run` names.
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { test } from "node:test";

const base = process.env.FHIR_BASE_URL;
const token = process.env.FHIR_ACCESS_TOKEN;
const SYSTEM = "urn:example:contract";

async function call(method, path, body, headers = {}) {
  const response = await fetch(new URL(path, `${base}/`), {
    method,
    body: typeof body === "object" ? JSON.stringify(body) : body,
    headers: {
      accept: "application/fhir+json",
      ...(body && { "content-type": "application/fhir+json" }),
      ...(token && { authorization: `Bearer ${token}` }),
      ...headers,
    },
  });
  const text = await response.text();
  return { status: response.status, headers: response.headers, json: text ? JSON.parse(text) : undefined };
}

const patient = (value = randomUUID()) => ({
  resourceType: "Patient",
  identifier: [{ system: SYSTEM, value }],
  name: [{ family: "Contract" }],
  telecom: [{ system: "phone", value: "+12125550101", use: "mobile" }],
});

async function booked() {
  const created = await call("POST", "Appointment", {
    resourceType: "Appointment",
    status: "booked",
    start: "2030-03-01T10:00:00-05:00",
    end: "2030-03-01T10:30:00-05:00",
    participant: [{ actor: { display: "Dr. Contract" }, status: "needs-action" }],
  });
  assert.equal(created.status, 201);
  return { path: `Appointment/${created.json.id}`, etag: created.headers.get("etag") };
}

test("the capability statement is FHIR R4 and names what we write", async () => {
  const { status, json } = await call("GET", "metadata");
  assert.equal(status, 200);
  assert.equal(json.fhirVersion, "4.0.1");
  const types = json.rest[0].resource.map((resource) => resource.type);
  for (const type of ["Appointment", "Communication", "Patient", "Slot", "Task"]) assert.ok(types.includes(type), type);
});

test("a conditional create makes one resource, however often it is sent", async () => {
  const value = randomUUID();
  const once = { "if-none-exist": `identifier=${encodeURIComponent(`${SYSTEM}|${value}`)}` };
  const first = await call("POST", "Patient", patient(value), once);
  const again = await call("POST", "Patient", patient(value), once);
  assert.equal(first.status, 201);
  assert.ok(first.headers.get("location"));
  assert.equal(again.status, 200);
  assert.equal(again.json.id, first.json.id);
  const found = await call("GET", `Patient?identifier=${encodeURIComponent(`${SYSTEM}|${value}`)}`);
  assert.equal(found.json.entry.length, 1);
});

test("a JSON Patch under If-Match is applied once and refused under the old version", async () => {
  const { path, etag } = await booked();
  const patch = [{ op: "replace", path: "/participant/0/status", value: "accepted" }];
  const headers = { "content-type": "application/json-patch+json", "if-match": etag };
  const applied = await call("PATCH", path, patch, headers);
  assert.equal(applied.status, 200);
  assert.notEqual(applied.headers.get("etag"), etag);
  assert.equal((await call("PATCH", path, patch, headers)).status, 412);
  assert.equal((await call("GET", path)).json.participant[0].status, "accepted");
});

test("a patch whose test fails changes nothing", async () => {
  const { path } = await booked();
  const patch = [
    { op: "replace", path: "/status", value: "arrived" },
    { op: "test", path: "/participant/0/status", value: "declined" },
  ];
  const refused = await call("PATCH", path, patch, { "content-type": "application/json-patch+json" });
  assert.ok(refused.status >= 400 && refused.status < 500, `${refused.status}`);
  assert.equal((await call("GET", path)).json.status, "booked");
});

test("a PUT under an old version is refused", async () => {
  const { path, etag } = await booked();
  const { json } = await call("GET", path);
  assert.equal((await call("PUT", path, json, { "if-match": etag })).status, 200);
  assert.equal((await call("PUT", path, json, { "if-match": etag })).status, 412);
});

test("searches by phone go in a body, so that the number stays out of URLs", async () => {
  await call("POST", "Patient", patient());
  const form = { "content-type": "application/x-www-form-urlencoded" };
  const found = await call("POST", "Patient/_search", "phone=%2B12125550101", form);
  assert.equal(found.status, 200);
  assert.ok(found.json.entry.length >= 1);
});

test("a search is paged by links that end", async () => {
  for (let made = 0; made < 3; made += 1) await booked();
  const seen = new Set();
  let next = "Appointment?date=ge2030-01-01&_sort=_lastUpdated&_count=2";
  for (let page = 0; next && page < 50; page += 1) {
    const { json } = await call("GET", next);
    for (const { resource } of json.entry ?? []) {
      assert.ok(!seen.has(resource.id), "an appointment came twice");
      seen.add(resource.id);
    }
    next = json.link.find((link) => link.relation === "next")?.url;
  }
  assert.equal(next, undefined);
  assert.ok(seen.size >= 3);
});

const filed = { resourceType: "Communication", status: "completed", sent: "2030-03-01T10:00:00Z" };
for (const [what, resource] of Object.entries({
  "an unknown code": { resourceType: "Appointment", status: "nonsense", bogus: 1 },
  "an unknown element": { ...filed, text_message: "Hello" },
  "a missing status": { ...filed, status: undefined },
  "a payload without content": { ...filed, payload: [{ id: "1" }] },
  "an instant that is none": { ...filed, sent: "yesterday" },
  "a reference that is none": { ...filed, subject: "Patient/1" },
})) {
  test(`what is not valid FHIR is refused with an OperationOutcome: ${what}`, async () => {
    const refused = await call("POST", resource.resourceType, resource);
    assert.equal(refused.status, 422);
    assert.equal(refused.json.resourceType, "OperationOutcome");
  });
}

test("what those were made from is valid", async () => {
  assert.equal((await call("POST", "Communication", filed)).status, 201);
});

if (token) {
  test("tokens and their scopes are enforced", async () => {
    assert.equal((await call("GET", "Patient", undefined, { authorization: "" })).status, 401);
    const slot = { resourceType: "Slot", schedule: { display: "none" }, status: "free", start: "2030-03-01T10:00:00Z" };
    assert.equal((await call("POST", "Slot", { ...slot, end: "2030-03-01T10:30:00Z" })).status, 403);
  });
}
