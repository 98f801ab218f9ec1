// The phones page. Texts are put in as text nodes only; what is on the page already stays, so focus and scrolling do too.

const only = new URLSearchParams(location.search).get("only")?.trim().replace(/^(\d)/, "+$1");
const grid = document.getElementById("phones");
const state = document.getElementById("state");
const search = document.getElementById("search");
const active = document.getElementById("active");
const cards = new Map();

const WHY = {
  30003: "the phone is off",
  30005: "no such phone",
  30006: "a landline cannot receive texts",
  30007: "filtered by the carrier",
  30036: "it waited too long",
  21610: "this phone has texted STOP",
};
const KIND = { mobile: "", landline: "landline", unreachable: "switched off" };
const LANGUAGE = { en: "English", es: "Español" };

const element = (name, className, text) => {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
};

const shown = (number) => number.replace(/^\+1(\d{3})(\d{3})(\d{4})$/, "($1) $2-$3");
const time = (at) => new Date(at).toLocaleString([], { weekday: "short", hour: "numeric", minute: "2-digit" });

async function read(path) {
  const response = await fetch(path);
  if (!response.ok) throw new Error(`${path}: ${response.status}`);
  return response.json();
}

function makeCard(phone, numbers) {
  const card = document.getElementById("phone").content.firstElementChild.cloneNode(true);
  const find = (selector) => card.querySelector(selector);
  const id = `phone-${phone.number.slice(1)}`;
  find(".face").textContent = phone.name.split(/\s+/).map((word) => word[0]).slice(0, 2).join("");
  find(".name").textContent = phone.name;
  find(".name").id = id;
  card.setAttribute("aria-labelledby", id);
  find(".facts").textContent = [shown(phone.number), LANGUAGE[phone.language], KIND[phone.kind]].filter(Boolean).join(" · ");
  const alone = find("a.alone");
  alone.href = only ? "/phones" : `/phones?only=${encodeURIComponent(phone.number)}`;
  alone.textContent = only ? "All" : "Alone";
  alone.setAttribute("aria-label", only ? "Show all phones" : `Show only the phone of ${phone.name}`);
  find(".texts").setAttribute("aria-label", `Texts on the phone of ${phone.name}`);
  find(".texts").append(element("li", "empty", "No texts yet."));
  const select = find("select");
  for (const number of numbers) select.append(new Option(shown(number), number));
  find(".to").hidden = numbers.length < 2;
  const mobile = phone.kind === "mobile";
  find(".write").hidden = !mobile;
  find(".mute").hidden = mobile;
  find(".mute").textContent = phone.kind === "landline" ? "A landline: texts cannot reach it." : "Switched off: texts do not arrive.";
  find("textarea").setAttribute("aria-label", `Text from ${phone.name} to the practice`);
  find("textarea").placeholder = "Text message";
  find("form").addEventListener("submit", (event) => { event.preventDefault(); send(card, phone); });
  find("textarea").addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) { event.preventDefault(); send(card, phone); }
  });
  grid.append(card);
  cards.set(phone.number, { card, phone, texts: new Map() });
}

async function send(card, phone) {
  const field = card.querySelector("textarea");
  const problem = card.querySelector(".problem");
  const body = field.value;
  if (!body.trim() || field.readOnly) return;
  problem.textContent = "";
  field.readOnly = true;
  field.value = "";
  try {
    const response = await fetch(`/sandbox/phones/${encodeURIComponent(phone.number)}/text`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ to: card.querySelector("select").value, body }),
    });
    if (!response.ok) throw new Error((await response.json()).error);
  } catch (error) {
    problem.textContent = `Not sent: ${error.message}`;
    field.value ||= body;
  } finally {
    field.readOnly = false;
    field.focus();
  }
}

function bubble(text) {
  const item = element("li", text.direction === "inbound" ? "text mine" : "text");
  const body = element("div", text.body ? "bubble" : "bubble blank", text.body || "(no words)");
  item.append(body);
  for (const address of text.media_urls) item.append(element("div", "media", `Attachment: ${address}`));
  const who = text.direction === "inbound" ? "You" : shown(text.from ?? "");
  item.append(element("div", "meta", `${who} · ${time(text.at)}`));
  return item;
}

function place(entry, text) {
  const undelivered = ["undelivered", "failed"].includes(text.status);
  const arrived = text.direction === "inbound" || text.status === "delivered";
  if (entry.texts.has(text.sid) || !(arrived || undelivered)) return false;
  const list = entry.card.querySelector(".texts");
  const atEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 80;
  list.querySelector(".empty")?.remove();
  const item = undelivered
    ? element("li", "note", `A text of ${time(text.at)} did not arrive: ${WHY[text.error_code] ?? "unknown reason"} (${text.error_code}).`)
    : bubble(text);
  list.append(item);
  entry.texts.set(text.sid, item);
  if (atEnd) list.scrollTop = list.scrollHeight;
  if (text.direction !== "inbound") {
    const clinic = entry.card.querySelector("select");
    if (text.from && document.activeElement !== clinic) clinic.value = text.from;
  }
  return true;
}

function filter() {
  const words = search.value.trim().toLowerCase();
  const digits = words.replace(/\D/g, "");
  for (const { card, phone, texts } of cards.values()) {
    const found = !words || phone.name.toLowerCase().includes(words) || (digits && phone.number.includes(digits));
    card.hidden = !found || (active.checked && texts.size === 0);
  }
}

let first = true;
async function refresh() {
  const { messages } = await read("/sandbox/messages");
  for (const text of messages) {
    const entry = cards.get(text.direction === "inbound" ? text.from : text.to);
    if (entry && place(entry, text) && !first) {
      entry.card.classList.add("fresh");
      setTimeout(() => entry.card.classList.remove("fresh"), 1600);
    }
  }
  first = false;
  filter();
}

// One refresh at a time; changes meanwhile cause one more.
let running = false;
let again = false;
async function changed() {
  if (running) { again = true; return; }
  running = true;
  try {
    do { again = false; await refresh(); } while (again);
  } catch { connection(false); } finally { running = false; }
}

function connection(alive) {
  state.classList.toggle("lost", !alive);
  state.textContent = alive ? "" : "Connection lost. Trying again…";
}

const { phones, numbers } = await read("/sandbox/phones");
const chosen = only ? phones.filter((phone) => phone.number === only) : phones;
for (const phone of chosen) makeCard(phone, numbers);
if (only) { grid.classList.add("alone"); document.getElementById("find").hidden = true; }
if (chosen.length === 0) grid.append(element("p", "", only ? "No phone has this number." : "The sandbox has no phones."));
search.addEventListener("input", filter);
active.addEventListener("change", filter);
document.getElementById("find").addEventListener("submit", (event) => event.preventDefault());
await changed();
const events = new EventSource("/phones/events");
events.addEventListener("changed", changed);
events.addEventListener("open", () => connection(true));
events.addEventListener("error", () => connection(false));
