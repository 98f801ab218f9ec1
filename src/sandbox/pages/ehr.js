// The chart's record follows what others write into it. What a person is about to choose or press stays as it is.

const EVERY_MS = 2000;

async function follow() {
  const record = document.querySelector(".record");
  if (document.hidden || record.contains(document.activeElement)) return;
  const response = await fetch(`${location.pathname}${location.search}&only=record`).catch(() => undefined);
  if (!response?.ok) return;
  const page = new DOMParser().parseFromString(await response.text(), "text/html");
  const now = page.querySelector(".record");
  if (now && now.innerHTML !== record.innerHTML && !record.contains(document.activeElement)) record.replaceWith(now);
}

setInterval(follow, EVERY_MS);
