// What every page of the inbox does: it ends without activity, and says what is the matter. Keeps nothing on the device.
"use strict";

const $ = (id) => document.getElementById(id);
const formToken = document.body.dataset.form;
// The address of this launch. After another launch in the same browser the server answers it with "gone", so that a
// page never goes on with the next patient.
const at = document.body.dataset.at;
const over = (answer) => [401, 403, 410].includes(answer.status);
const post = (path, fields, method = "POST") =>
  fetch(path, {
    method,
    headers: { Accept: "application/json" },
    body: new URLSearchParams({ form_token: formToken, ...fields }),
  });

// ---- the end without activity -------------------------------------------------------------------------------------

const WARN_BEFORE = 60;
const TELL_EVERY = 15;
let endsAt = Date.now() + Number(document.body.dataset.left) * 1000;
let toldAt = Date.now();
let ended = false;
let stream;

function end() {
  if (ended) return;
  ended = true;
  stream?.close();
  document.title = "Chartwire";
  document.body.className = "state-page";
  document.body.replaceChildren($("ended").content.cloneNode(true));
  // The server ends the session when it is next asked.
  fetch(`${at}/thread`).catch(() => {});
}

// The server says why there is no session any more.
function reload() {
  if (ended) return;
  ended = true;
  document.body.replaceChildren();
  location.reload();
}

async function tell() {
  if (ended || Date.now() - toldAt < TELL_EVERY * 1000) return;
  toldAt = Date.now();
  try {
    const answer = await post(`${at}/present`, {});
    if (over(answer)) return reload();
    if (answer.ok) endsAt = Date.now() + (await answer.json()).seconds_left * 1000;
    tick();
  } catch {
    // Not told: the time runs on, on both sides.
  }
}

function tick() {
  if (ended) return;
  const left = Math.ceil((endsAt - Date.now()) / 1000);
  if (left <= 0) end();
  else say("idle", left <= WARN_BEFORE ? "This page closes within a minute unless you go on." : "");
}

for (const kind of ["pointerdown", "pointermove", "keydown", "wheel", "touchstart"]) {
  addEventListener(kind, tell, { passive: true });
}
setInterval(tick, 1000);
document.addEventListener("visibilitychange", tick);
addEventListener("pageshow", (shown) => shown.persisted && reload());

// ---- the banner ---------------------------------------------------------------------------------------------------

const banners = new Map();
function say(about, words) {
  if (words) banners.set(about, words);
  else banners.delete(about);
  const banner = $("banner");
  if (!banner) return;
  const text = [...banners.values()].join(" ");
  if (banner.textContent !== text) banner.textContent = text;
  banner.hidden = !text;
}
