#!/usr/bin/env node
// Walks the demo in a real browser (headless Chromium), as a nurse with the chart open and a patient with a phone: the
// launch inside the EHR's frame, which is another site to the browser, the live thread, a reply, a text from a shared
// phone, and what a page shows after another patient's launch. Ends with 0 only if all of it was seen on the pages.
//
//   browser-walk.mjs [--screenshots FOLDER] [--chromium PROGRAM] -- COMMAND [ARGUMENT…]
//
// COMMAND starts the demo and stays, such as `cargo run -- demo`. Where it listens is read from what it prints.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { chromium } from "playwright-core";

const { values: options, positionals: command } = parseArgs({
  allowPositionals: true,
  options: { screenshots: { type: "string" }, chromium: { type: "string", default: "/usr/bin/chromium" } },
});
assert.ok(command.length > 0, "no command given; write it after --");
const ANA = "+12125550101";
/** The phone of Maria Santos and of her daughter Mia. */
const SHARED = "+12125550103";

let code = 1;
const demo = spawn(command[0], command.slice(1), { stdio: ["ignore", "pipe", "inherit"] });
let browser;
try {
  const addresses = await announced(demo);
  browser = await chromium.launch({
    executablePath: options.chromium,
    args: ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
  });
  await walk(addresses);
  code = 0;
  console.log("All of it was seen in the browser.");
} catch (error) {
  console.error(`browser-walk.mjs: ${error.stack}`);
} finally {
  await browser?.close();
  if (demo.exitCode === null) {
    demo.kill("SIGTERM");
    await new Promise((resolve) => demo.once("exit", resolve));
  }
}
process.exit(code);

async function walk({ ehr, phones, service }) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, reducedMotion: "reduce" });
  const complaints = [];
  context.on("console", (message) => message.type() === "error" && complaints.push(message.text()));
  context.on("weberror", (error) => complaints.push(String(error.error())));

  // The chart under another name of this machine: to the browser, the sidebar is then a frame of another site.
  const chart = await context.newPage();
  const elsewhere = ehr.replace("127.0.0.1", "localhost");
  await chart.goto(`${elsewhere}?practitioner=practitioner-john-smith`);
  await picture(chart, "calendar");
  await chart.getByRole("link", { name: /^Ana Lopez/ }).first().click();
  const sidebar = chart.frameLocator("aside iframe");
  await sidebar.getByRole("heading", { name: "Ana Lopez" }).waitFor();
  console.log("launched from the chart into the frame of another site");

  const phone = await context.newPage();
  await phone.setViewportSize({ width: 420, height: 800 });
  await phone.goto(`${phones}?only=${encodeURIComponent(ANA)}`);
  const heard = (words) => phone.getByRole("log").getByText(words).last().waitFor();
  const say = async (words) => {
    await phone.getByRole("textbox", { name: /text message|text/i }).fill(words);
    await phone.getByRole("button", { name: "Send" }).click();
  };
  await heard(/Reply C to confirm/);
  await say("RESCHEDULE");
  await heard(/Open times/);
  await say("2");
  await heard(/Your visit is now/);
  await say("Thanks! My knee is more swollen today");
  await sidebar.getByText("My knee is more swollen today").waitFor();
  console.log("the patient's texts appeared in the open thread without a reload");

  const box = sidebar.getByRole("textbox", { name: /reply/i });
  await box.pressSequentially("Please rest it and keep it raised. We can see you tomorrow at 9 AM.");
  await sidebar.getByRole("button", { name: "Send" }).click();
  await heard(/keep it raised/);
  await sidebar.getByText("keep it raised").waitFor();
  await sidebar.getByText("In chart").last().waitFor();
  await chart.locator("#filed").locator("..").getByText("keep it raised").waitFor();
  console.log("the reply reached the phone, and the chart");
  await picture(phone, "phone");
  await picture(chart, "thread");

  const theirs = await context.newPage();
  await theirs.goto(`${phones}?only=${encodeURIComponent(SHARED)}`);
  await theirs.getByRole("textbox", { name: /text message|text/i }).fill("she has chest pain and can't breathe");
  await theirs.getByRole("button", { name: "Send" }).click();
  await sidebar.getByText("1 item waits without a patient").waitFor();
  await picture(chart, "waiting");
  await sidebar.getByRole("link", { name: /waits without a patient/ }).click();
  await sidebar.getByRole("heading", { name: "Worklist" }).waitFor();
  await sidebar.getByText("2 patients have this number.").waitFor();
  await sidebar.getByText("It is from Mia Santos").click();
  await picture(chart, "worklist");
  await sidebar.getByRole("button", { name: "Yes, it is Mia Santos’s" }).click();
  await sidebar.getByText("Nothing waits").waitFor();
  await sidebar.getByRole("link", { name: "Back to the patient’s texts" }).click();
  await sidebar.getByRole("heading", { name: "Ana Lopez" }).waitFor();
  console.log("danger from a shared phone was seen beside another patient's chart, and given to whose it is");

  const all = await context.newPage();
  await all.goto(phones);
  await all.getByRole("heading", { name: /Ana Lopez/ }).waitFor();
  await picture(all, "phones");

  const cookies = (await context.cookies(service)).filter((cookie) => cookie.name.startsWith("__Host-"));
  assert.ok(cookies.length > 0 && cookies.every((cookie) => cookie.secure && cookie.httpOnly), "session cookie");
  assert.deepEqual(complaints, [], "errors in the browser's console");

  // The browser says in its console that a request was refused, so from here on it may.
  const next = await context.newPage();
  await next.goto(`${elsewhere}?practitioner=practitioner-john-smith`);
  await next.getByRole("link", { name: /^Mia Santos/ }).first().click();
  const hers = next.frameLocator("aside iframe");
  await hers.getByRole("heading", { name: "Mia Santos" }).waitFor();
  await hers.getByText("she has chest pain").waitFor();
  await picture(next, "next-patient");
  const older = chart.frames().find((frame) => frame.url().includes("/inbox/"));
  await older.evaluate(() => location.reload());
  await sidebar.getByRole("heading", { name: "Opened by another launch" }).waitFor();
  console.log("the next patient's launch shows the next patient, and the older sidebar nobody");
}

/** Where the demo listens, from its welcome. */
async function announced(child) {
  let text = "";
  const ended = new Promise((_, reject) => {
    child.once("error", reject);
    child.once("exit", (status) => reject(new Error(`the demo ended with ${status}:\n${text}`)));
  });
  ended.catch(() => {});
  const welcome = new Promise((resolve) => {
    child.stdout.on("data", (data) => {
      text += data;
      const find = (name) => text.match(new RegExp(`${name}\\s+(http://\\S+)`))?.[1];
      if (text.includes("Stop with ctrl-c")) {
        resolve({ ehr: find("The EHR"), phones: find("The phones"), service: find("The service") });
      }
    });
  });
  return Promise.race([welcome, ended]);
}

async function picture(page, name) {
  if (!options.screenshots) return;
  mkdirSync(options.screenshots, { recursive: true });
  await page.screenshot({ path: join(options.screenshots, `${name}.png`) });
}
