// Parts of a page that live: each asks for its next state, which the server holds until there is one.
"use strict";

const PAUSE_SECONDS_MAX = 30;

async function live(part) {
  let pause = 1;
  while (part.isConnected && part.dataset.living) {
    try {
      const answer = await fetch(part.dataset.living, { headers: { "X-Living": "1" } });
      if (answer.redirected || answer.status === 401 || answer.status === 404) return location.reload();
      if (answer.status === 204) continue;
      if (!answer.ok) throw new Error(answer.statusText);
      const next = document.createRange().createContextualFragment(await answer.text()).firstElementChild;
      const focused = part.contains(document.activeElement) ? document.activeElement.id : "";
      part.replaceWith(next);
      part = next;
      if (focused) document.getElementById(focused)?.focus();
      part.classList.remove("stale");
      pause = 1;
    } catch {
      part.classList.add("stale");
      await new Promise((resolve) => setTimeout(resolve, 1000 * pause));
      pause = Math.min(2 * pause, PAUSE_SECONDS_MAX);
    }
  }
}

document.querySelectorAll("[data-living]").forEach(live);
