// Keeps a page as the server says it is: what is new comes over /events, and the page fetches itself.
// Without this script every page works all the same, but has to be reloaded by hand.
"use strict";
(() => {
  const find = (selector, from = document) => from.querySelector(selector);
  let fetching = false, again = false;

  const lit = (main) => new Set([...main.querySelectorAll("[id^=p-] .lit")].map(
    (step) => step.closest("[id^=p-]").id + step.dataset.step));

  function show(page) {
    const shown = find("#main"), fresh = find("#main", page);
    if (!fresh || shown.innerHTML === fresh.innerHTML) return;
    const before = lit(shown), focused = document.activeElement;
    const place = focused.closest("[id^=p-]")?.id, field = find("#q"), typed = field?.value;
    for (const step of fresh.querySelectorAll("[id^=p-] .lit")) {
      if (!before.has(step.closest("[id^=p-]").id + step.dataset.step)) step.classList.add("fresh");
    }
    const states = new Map([...shown.querySelectorAll("[data-state]")].map((p) => [p.id, p.dataset.state]));
    shown.replaceWith(fresh);
    document.title = page.title;
    if (field && find("#q")) {
      find("#q").value = typed;
      if (focused === field) find("#q").focus({ preventScroll: true });
    }
    if (place) find(`#${CSS.escape(place)} a`)?.focus({ preventScroll: true });
    const changed = [...fresh.querySelectorAll("[data-state]")].filter((p) => states.get(p.id) !== p.dataset.state);
    if (changed.length) {
      const one = find(".payment", changed[0]);
      find("#announce").textContent = one ? one.getAttribute("aria-label") : find(".state", changed[0]).textContent;
    }
  }

  async function refresh() {
    if (fetching) { again = true; return; }
    fetching = true;
    try {
      const answer = await fetch(location.pathname + location.search, { headers: { "x-live": "1" } });
      if (answer.status === 401) return location.assign("/login");
      if (answer.ok) show(new DOMParser().parseFromString(await answer.text(), "text/html"));
    } finally {
      fetching = false;
    }
    if (again) { again = false; refresh().catch(() => {}); }
  }

  function listen() {
    const source = new EventSource("/events");
    source.addEventListener("changed", () => {
      find("#lost").hidden = true;
      refresh().catch(() => {});
    });
    source.onerror = () => {
      // A session that has ended is no loss of the server.
      fetch(location.pathname, { headers: { "x-live": "1" } }).then(
        (answer) => { if (answer.status === 401) location.assign("/login"); },
        () => { find("#lost").hidden = false; });
      if (source.readyState === EventSource.CLOSED) setTimeout(listen, 2000);
    };
  }

  if ("live" in find("#main").dataset) listen();
  addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); });
})();
