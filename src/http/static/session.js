// What every page of the inbox does: it ends without activity, says what is the matter, and goes on by itself where it
// asks for that. Keeps nothing on the device.
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

// ---- live changes -------------------------------------------------------------------------------------------------

const NO_CONNECTION = "No connection. What you typed stays here; the page goes on by itself.";

// Gives a function that asks for the part of the page that changes and hands it to `show`; one asking at a time.
function bringUpToDate(part, show) {
  let asking = false;
  let again = false;
  const refresh = async () => {
    if (ended) return;
    if (asking) {
      again = true;
      return;
    }
    asking = true;
    try {
      const answer = await fetch(`${at}/${part}`);
      if (over(answer)) return reload();
      if (!answer.ok) throw new Error("not now");
      await show(new DOMParser().parseFromString(await answer.text(), "text/html"));
      say("offline", "");
    } catch {
      say("offline", NO_CONNECTION);
    } finally {
      asking = false;
      if (again) {
        again = false;
        refresh();
      }
    }
  };
  return refresh;
}

// Keeps the page up to date with `refresh`: at each event, when the connection is back, and every minute. Small forms
// (done, settle, whose it is) are sent without leaving the page.
function goOn(refresh) {
  const listen = () => {
    stream = new EventSource(`${at}/events`);
    let lost = false;
    stream.addEventListener("open", () => lost && refresh());
    stream.addEventListener("thread", refresh);
    stream.addEventListener("worklist", refresh);
    stream.addEventListener("ended", reload);
    stream.addEventListener("error", () => {
      lost = true;
      if (ended) return;
      say("offline", NO_CONNECTION);
      // The browser tries again by itself unless it was refused.
      if (stream.readyState === EventSource.CLOSED) {
        setTimeout(() => {
          refresh();
          if (!ended) listen();
        }, 5000);
      }
    });
  };
  listen();
  addEventListener("online", refresh);
  setInterval(refresh, 60000);

  document.addEventListener("submit", async (sent) => {
    const form = sent.target;
    if (!form.matches("[data-quiet]")) return;
    sent.preventDefault();
    const button = form.querySelector("button");
    button.disabled = true;
    try {
      const answer = await post(form.getAttribute("action"), Object.fromEntries(new FormData(form)));
      if (answer.status === 401 || answer.status === 410) return reload();
      say("action", answer.ok || answer.status === 409 ? "" : "That did not work. Try again.");
      await refresh();
    } catch {
      say("action", "That did not work: no connection.");
    } finally {
      button.disabled = false;
    }
  });
}
