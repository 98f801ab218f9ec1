#!/usr/bin/env node
// Holds both sides of the carrier to what Twilio itself publishes. Between the service and the sandbox's carrier stands
// prism, which refuses whatever breaks Twilio's OpenAPI contract: what we send, and what our simulator answers. In front
// of the service stands a door that lets in only what the `twilio` package finds well signed. Then texts go both ways,
// and texts signed by the `twilio` package are brought to the service itself, as forms and as JSON, well and badly.
//
//   twilio-oracle.mjs CHARTWIRE
//
// CHARTWIRE is the program, built with the sandbox. Ends with 0 only if all of it held.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer, request } from "node:http";
import { createServer as createTcpServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import twilio from "twilio";

const WITHIN_MS = 60_000;
const PACKAGES = fileURLToPath(new URL("node_modules/", import.meta.url));
/** Twilio's OpenAPI description of its own API, as its own command-line program carries it. */
const CONTRACT = join(PACKAGES, "@twilio/cli-core/src/services/twilio-api/twilio_api_v2010.json");
const MESSAGES = /^\/2010-04-01\/Accounts\/\{AccountSid\}\/Messages(\/\{Sid\})?\.json$/;
const ANA = "+12125550101";

/** A patient's phone at the sandbox's carrier. */
class Phone {
  constructor(carrier, ours) {
    this.at = `${carrier}/sandbox/phones/${encodeURIComponent(ANA)}`;
    this.ours = ours;
  }
  async texts() {
    return (await (await fetch(`${this.at}/messages`)).json()).messages;
  }
  async says(body) {
    const answer = await fetch(`${this.at}/text`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ to: this.ours, body }),
    });
    assert.ok(answer.ok, `the phone cannot text: ${answer.status}`);
  }
  async hears(words, what) {
    await until(what, async () => (await this.texts()).some((text) => words.test(text.body)));
  }
}

const [program] = process.argv.slice(2);
assert.ok(program, "name the program: twilio-oracle.mjs target/debug/chartwire");

const folder = mkdtempSync(join(tmpdir(), "chartwire-oracle-"));
const children = [];
const seen = { signed: 0, forged: [], contract: "" };
let code = 1;
try {
  await check();
  code = 0;
  console.log("Twilio's own package and Twilio's own contract agree with both sides.");
} catch (error) {
  console.error(`twilio-oracle.mjs: ${error.stack}`);
  if (seen.contract) console.error(`prism said:\n${seen.contract.slice(-4000)}`);
} finally {
  for (const child of children.reverse()) {
    child.kill("SIGTERM");
    if (child.exitCode === null) await new Promise((resolve) => child.once("exit", resolve));
  }
  rmSync(folder, { recursive: true, force: true });
}
process.exit(code);

async function check() {
  const [outside, inside, ehr, contract] = await Promise.all([port(), port(), port(), port()]);
  const local = (at) => `127.0.0.1:${at}`;
  run(program, ["sandbox", "--listen", local(ehr), "--service", local(outside), "--data", folder]);
  const places = JSON.parse(await until("the sandbox", () => readFileSync(join(folder, "sandbox.json"), "utf8")));
  const carrier = places.carrier.replace(/\/$/, "");
  const settings = readFileSync(join(folder, "chartwire.toml"), "utf8");
  const value = (key) => settings.match(new RegExp(`^${key} = (?:\\{ file = )?"([^"]+)"`, "m"))[1];
  const token = readFileSync(join(folder, value("auth_token")), "utf8").trim();

  const prism = run(join(PACKAGES, ".bin/prism"), ["proxy", contractOfMessages(), carrier, "--errors", "--port", String(contract)]);
  prism.stdout.on("data", (words) => (seen.contract += words));
  prism.stderr.on("data", (words) => (seen.contract += words));
  await until("prism", () => /Prism is listening/.test(seen.contract));
  await refuses(`http://${local(contract)}`, value("account_sid"), token);

  const door = await doorOf(local(outside), local(inside), token);
  const config = join(folder, "chartwire.toml");
  const due = await dueSoon(value("zone"));
  const through = settings.replace(value("api_base"), `http://${local(contract)}/`);
  writeFileSync(config, through.replaceAll(/at = "\d\d:\d\d:\d\d"/g, `at = "${due}"`));
  const environment = { ...process.env, CHARTWIRE__SERVER__LISTEN: local(inside) };
  await ended(run(program, ["migrate", "--config", config], environment));
  run(program, ["serve", "--config", config], environment);
  await until("the service", async () => (await fetch(`http://${local(inside)}/readyz`)).ok);

  const phone = new Phone(carrier, value("phone"));
  await phone.hears(/Reply C to confirm/, "the reminder");
  await phone.says("RESCHEDULE");
  await phone.hears(/Open times/, "the offer");
  await phone.says("2");
  await phone.hears(/Your visit is now/, "the new time");
  await until("the reports of delivery", async () => {
    const texts = await phone.texts();
    return texts.length > 0 && texts.every((text) => ["delivered", "received", "read"].includes(text.status));
  });
  console.log(`the main job ran with every request and answer held to the contract`);
  const webhook = `http://${local(outside)}/carriers/twilio/${value("slug")}/inbound`;
  await byTheirPackage(webhook, value("account_sid"), value("phone"), token);
  assert.deepEqual(seen.forged, [], "webhooks that the package finds badly signed");
  assert.ok(seen.signed >= 5, `only ${seen.signed} webhooks came`);
  assert.deepEqual(complaints().slice(seen.expected), [], "what breaks the contract");
  console.log(`${seen.signed} webhooks of the sandbox are signed as Twilio signs`);
  door.close();
}

/** That the contract is enforced at all: a request without anybody to send to is refused. */
async function refuses(base, account, token) {
  const authorization = `Basic ${Buffer.from(`${account}:${token}`).toString("base64")}`;
  const answer = await fetch(`${base}/2010-04-01/Accounts/${account}/Messages.json`, {
    method: "POST",
    headers: { authorization, "content-type": "application/x-www-form-urlencoded" },
    body: new URLSearchParams({ Body: "nobody" }),
  });
  assert.equal(answer.status, 422, "prism lets through what breaks the contract");
  await until("prism's complaint", () => complaints().length > 0);
  seen.expected = complaints().length;
}

/** What prism has found wrong with a request or an answer. */
function complaints() {
  return seen.contract.split("\n").filter((line) => line.includes("terminated with error"));
}

/**
 * The part of the contract that is about messages. It calls the addresses of a list's pages absolute (`uri`), while
 * Twilio answers, and shows in its own documentation, relative ones.
 */
function contractOfMessages() {
  const contract = JSON.parse(readFileSync(CONTRACT, "utf8"));
  contract.paths = Object.fromEntries(Object.entries(contract.paths).filter(([path]) => MESSAGES.test(path)));
  assert.equal(Object.keys(contract.paths).length, 2, "the contract describes messages elsewhere now");
  const list = contract.paths["/2010-04-01/Accounts/{AccountSid}/Messages.json"].get.responses["200"];
  for (const field of Object.values(list.content["application/json"].schema.properties)) {
    if (field.format === "uri") field.format = "uri-reference";
  }
  const file = join(folder, "contract.json");
  writeFileSync(file, JSON.stringify(contract));
  return file;
}

/** A server at `outside` that passes on to `inside` and looks at every signature of the carrier on the way. */
async function doorOf(outside, inside, token) {
  const server = createServer(async (asked, answer) => {
    const parts = [];
    for await (const part of asked) parts.push(part);
    const body = Buffer.concat(parts);
    const url = `http://${outside}${asked.url}`;
    const signature = asked.headers["x-twilio-signature"];
    if (asked.url.startsWith("/carriers/twilio/") && !asked.headers["x-oracle"]) {
      if (isSigned(token, signature, url, asked.headers["content-type"], body)) seen.signed += 1;
      else seen.forged.push(asked.url);
    }
    const [host, at] = inside.split(":");
    const forward = request(
      { host, port: at, path: asked.url, method: asked.method, headers: { ...asked.headers, host: outside } },
      (theirs) => {
        answer.writeHead(theirs.statusCode, theirs.headers);
        theirs.pipe(answer);
      },
    );
    forward.on("error", () => answer.writeHead(502).end());
    forward.end(body);
  });
  await new Promise((resolve) => server.listen(Number(outside.split(":")[1]), "127.0.0.1", resolve));
  return server;
}

function isSigned(token, signature, url, type, body) {
  if (!signature) return false;
  if (type?.includes("json")) return twilio.validateRequestWithBody(token, signature, url, body.toString());
  return twilio.validateRequest(token, signature, url, Object.fromEntries(new URLSearchParams(body.toString())));
}

/** Texts that the package signs reach the service; those that it did not sign do not. */
async function byTheirPackage(webhook, account, ours, token) {
  const text = (number) => ({
    AccountSid: account,
    ApiVersion: "2010-04-01",
    Body: "What floor is the clinic on? ¿Y el parking? \u{1F17F}\u{FE0F}",
    From: ANA,
    To: ours,
    MessageSid: `SM${String(number).repeat(32)}`,
    SmsSid: `SM${String(number).repeat(32)}`,
    SmsMessageSid: `SM${String(number).repeat(32)}`,
    SmsStatus: "received",
    NumMedia: "0",
    NumSegments: "1",
  });
  const bring = (url, type, body, signature) =>
    fetch(url, { method: "POST", headers: { "content-type": type, "x-twilio-signature": signature, "x-oracle": "1" }, body });
  const form = "application/x-www-form-urlencoded";
  const signed = twilio.getExpectedTwilioSignature(token, webhook, text(1));
  assert.equal((await bring(webhook, form, new URLSearchParams(text(1)), signed)).status, 200, "a form signed by the package");
  assert.equal((await bring(webhook, form, new URLSearchParams(text(2)), signed)).status, 403, "another form, the same signature");

  const json = JSON.stringify(text(3));
  const hashed = `${webhook}?bodySHA256=${twilio.getExpectedBodyHash(json)}`;
  const alike = twilio.getExpectedTwilioSignature(token, hashed, {});
  assert.equal((await bring(hashed, "application/json", json, alike)).status, 200, "JSON signed by the package");
  const other = JSON.stringify(text(4));
  assert.equal((await bring(hashed, "application/json", other, alike)).status, 403, "other JSON, the same signature");
  console.log("webhooks signed by the package are taken, forged ones are not");
}

/** A time of day on the practice's clocks, before which the service has started and read the schedule: today's. */
async function dueSoon(timeZone) {
  const clock = new Intl.DateTimeFormat("en-GB", { timeZone, timeStyle: "medium" });
  for (;;) {
    const [now, due] = [Date.now(), Date.now() + 20_000].map((at) => clock.format(at));
    if (now < due) return due;
    await new Promise((resolve) => setTimeout(resolve, 1000));
  }
}

function run(command, parameters, env = process.env) {
  const child = spawn(command, parameters, { stdio: ["ignore", "pipe", "pipe"], env });
  child.stderr.pipe(process.stderr);
  child.stdout.resume();
  children.push(child);
  return child;
}

async function ended(child) {
  const status = child.exitCode ?? (await new Promise((resolve) => child.once("exit", resolve)));
  assert.equal(status, 0, `${child.spawnargs.join(" ")} ended with ${status}`);
}

/** What `look` gives, as soon as it gives something. */
async function until(what, look) {
  for (const began = Date.now(); Date.now() - began < WITHIN_MS; await new Promise((resolve) => setTimeout(resolve, 200))) {
    try {
      const found = await look();
      if (found) return found;
    } catch {
      // Not yet.
    }
  }
  throw new Error(`${what}: not within ${WITHIN_MS / 1000} s`);
}

function port() {
  return new Promise((resolve) => {
    const server = createTcpServer();
    server.listen(0, "127.0.0.1", () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });
}
