// What the thread does beyond reading and answering: live changes, checks while typing, keys. Stands on session.js.
// Keeps nothing on the device.
"use strict";

// ---- what has changed ---------------------------------------------------------------------------------------------

function bring(list, fresh) {
  // The list is scrolled from its end: 0 is the newest text.
  const nearEnd = $("scroll").scrollTop > -80;
  const here = new Map([...list.children].map((item) => [item.dataset.key, item]));
  let arrived = false;
  let place = list.firstElementChild;
  for (const item of [...fresh.children]) {
    const old = here.get(item.dataset.key);
    here.delete(item.dataset.key);
    if (!old) {
      list.insertBefore(item, place);
      if (item.matches(".in")) {
        item.classList.add("fresh");
        arrived = true;
      }
      continue;
    }
    place = old.nextElementSibling;
    if (plain(old) !== plain(item)) {
      item.querySelectorAll("details").forEach((details, i) => {
        details.open = old.querySelectorAll("details")[i]?.open ?? false;
      });
      const focused = old.contains(document.activeElement);
      old.replaceWith(item);
      if (focused) item.focus();
    }
  }
  here.forEach((gone) => gone.remove());
  if (nearEnd) $("scroll").scrollTop = 0;
  return arrived;
}

function plain(item) {
  const copy = item.cloneNode(true);
  copy.classList.remove("fresh");
  copy.querySelectorAll("details").forEach((details) => details.removeAttribute("open"));
  return copy.outerHTML;
}

const refresh = bringUpToDate("thread", async (page) => {
  const live = page.getElementById("live");
  if (live.dataset.blocked !== $("live").dataset.blocked) {
    // The reply box opens or closes; what is typed is kept as a draft.
    await keepDraft();
    return location.reload();
  }
  for (const part of ["patient", "waiting", "tasks"]) {
    if ($(part).outerHTML !== page.getElementById(part).outerHTML) $(part).replaceWith(page.getElementById(part));
  }
  if (bring($("texts"), page.getElementById("texts"))) $("announcer").textContent = "A new message has arrived.";
});
goOn(refresh);

// ---- the reply box ------------------------------------------------------------------------------------------------

const reply = $("reply");
const text = $("text");
let keepDraft = async () => {};

if (reply) {
  const line = $("line");
  const send = $("send");
  const idleLine = line.textContent;
  let checkTimer;
  let draftTimer;
  let drafting = Promise.resolve();
  let asked = 0;
  let neutral = "";
  let maySend = true;

  const grow = () => {
    text.style.height = "auto";
    text.style.height = `${text.scrollHeight}px`;
    $("mirror").scrollTop = text.scrollTop;
  };

  const show = (check) => {
    const letters = [...text.value];
    const marked = [];
    let at = 0;
    const findings = [...(check?.findings ?? [])].sort((a, b) => a.start - b.start);
    for (const finding of findings) {
      if (finding.start < at) continue;
      const mark = document.createElement("mark");
      mark.textContent = letters.slice(finding.start, finding.end).join("");
      marked.push(letters.slice(at, finding.start).join(""), mark);
      at = finding.end;
    }
    marked.push(`${letters.slice(at).join("")}\n`);
    $("mirror").replaceChildren(...marked);
    const advice = check?.blocked_reason ? [check.blocked_reason] : [];
    for (const finding of findings) if (!advice.includes(finding.advice)) advice.push(finding.advice);
    $("findings").replaceChildren(
      ...advice.map((words) => {
        const item = document.createElement("li");
        item.textContent = words;
        return item;
      }),
    );
    neutral = check?.neutral ?? "";
    $("neutral").hidden = !neutral;
    $("neutral").firstElementChild.textContent = `Say instead (Alt+N): ${neutral}`;
    line.textContent = check ? check.line : idleLine;
    maySend = check ? check.may_send : true;
    line.classList.toggle("bad", !maySend);
    send.setAttribute("aria-disabled", String(!maySend || !text.value.trim()));
    grow();
  };

  const check = async () => {
    const number = ++asked;
    if (!text.value.trim()) return show(null);
    try {
      const answer = await post(`${at}/check`, { text: text.value });
      if (answer.status === 401 || answer.status === 410) return reload();
      // A later letter has been typed meanwhile: its answer counts.
      if (answer.ok && number === asked) show(await answer.json());
    } catch {
      if (number === asked) line.textContent = "Not checked: no connection.";
    }
  };

  keepDraft = () => {
    clearTimeout(draftTimer);
    const typed = text.value;
    drafting = drafting.then(() => post(`${at}/draft`, { text: typed }, "PUT")).catch(() => {});
    return drafting;
  };

  const changed = () => {
    show(null);
    if (text.value.trim()) line.textContent = "Checking…";
    clearTimeout(checkTimer);
    checkTimer = setTimeout(check, 300);
    clearTimeout(draftTimer);
    draftTimer = setTimeout(keepDraft, 800);
  };

  const useNeutral = () => {
    if (!neutral) return;
    text.value = neutral;
    text.focus();
    changed();
  };

  text.addEventListener("input", changed);
  text.addEventListener("scroll", () => ($("mirror").scrollTop = text.scrollTop));
  $("neutral").firstElementChild.addEventListener("click", useNeutral);
  text.addEventListener("keydown", (key) => {
    if (key.key === "Enter" && (key.ctrlKey || key.metaKey)) {
      key.preventDefault();
      reply.requestSubmit();
    } else if (key.key === "Escape") {
      text.blur();
    } else if (key.altKey && key.code === "KeyN") {
      key.preventDefault();
      useNeutral();
    }
  });

  let sending = false;
  reply.addEventListener("submit", async (sent) => {
    sent.preventDefault();
    if (sending || !text.value.trim() || !maySend) return text.focus();
    sending = true;
    clearTimeout(checkTimer);
    clearTimeout(draftTimer);
    asked += 1;
    line.textContent = "Sending off…";
    try {
      // A draft that is on its way must not arrive after the reply and stand there again.
      await drafting;
      const answer = await post(`${at}/reply`, Object.fromEntries(new FormData(reply)));
      if (answer.status === 401 || answer.status === 410) return reload();
      if (answer.status === 422 && answer.headers.get("content-type")?.includes("json")) return show(await answer.json());
      if (answer.status === 429) {
        // The same `once` goes with the next try.
        const seconds = answer.headers.get("retry-after");
        line.textContent = `Not sent off: too many replies within a minute. Try again in ${seconds} seconds.`;
        line.classList.add("bad");
        return keepDraft();
      }
      if (!answer.ok) throw new Error("refused");
      const taken = await answer.json();
      reply.elements.once.value = taken.once;
      if (reply.elements.send_now) reply.elements.send_now.checked = false;
      text.value = "";
      show(null);
      line.textContent = taken.said;
      $("scroll").scrollTop = 0;
      await refresh();
    } catch {
      // The same `once` goes with the next try, so a reply that did arrive is not sent twice.
      line.textContent = "Not sent off: no connection. Your text is still here.";
      line.classList.add("bad");
      keepDraft();
    } finally {
      sending = false;
    }
  });

  show(null);
  if (text.value.trim()) check();
}

// ---- keys ---------------------------------------------------------------------------------------------------------

const help = $("help");
const openHelp = $("open-help");
openHelp.hidden = false;
openHelp.addEventListener("click", () => help.showModal());

document.addEventListener("keydown", (key) => {
  if (ended || key.ctrlKey || key.metaKey || key.altKey || help.open) return;
  if (key.target.matches("textarea, input") || (key.key === "Enter" && key.target.matches("a, button, summary"))) return;
  const texts = [...document.querySelectorAll("#texts > .text")];
  const here = texts.indexOf(document.activeElement.closest(".text"));
  const go = (to) => texts[to]?.focus();
  const act = {
    j: () => go(here < 0 ? texts.length - 1 : Math.min(here + 1, texts.length - 1)),
    k: () => go(here < 0 ? texts.length - 1 : Math.max(here - 1, 0)),
    r: () => text?.focus(),
    "?": () => help.showModal(),
    Enter: () => {
      const details = texts[here]?.querySelector(".status");
      if (details) details.open = !details.open;
    },
  }[key.key];
  if (act) {
    key.preventDefault();
    act();
  }
});

document.addEventListener("click", (click) => {
  const menu = document.querySelector(".menu[open]");
  if (menu && !menu.contains(click.target)) menu.open = false;
});
