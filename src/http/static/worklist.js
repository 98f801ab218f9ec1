// The worklist goes on by itself. Stands on session.js. Keeps nothing on the device.
"use strict";

// What somebody has unfolded stays so.
const refresh = bringUpToDate("worklist/items", (page) => {
  const here = new Map([...document.querySelectorAll("[data-key]")].map((item) => [item.dataset.key, item]));
  const fresh = page.getElementById("items");
  let arrived = false;
  for (const item of fresh.querySelectorAll("[data-key]")) {
    const old = here.get(item.dataset.key);
    if (!old) arrived = true;
    else item.querySelectorAll("details").forEach((details, i) => {
      details.open = old.querySelectorAll("details")[i]?.open ?? false;
    });
  }
  const focused = document.activeElement.closest("[data-key]")?.dataset.key;
  if ($("items").outerHTML === fresh.outerHTML) return;
  $("items").replaceWith(fresh);
  if (focused) fresh.querySelector(`[data-key="${focused}"] button, [data-key="${focused}"] summary`)?.focus();
  if (arrived) $("announcer").textContent = "Something new waits.";
});
goOn(refresh);
