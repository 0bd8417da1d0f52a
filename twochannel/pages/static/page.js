// Keeps a page as the agent says it is: what is new comes over /events, and the page fetches itself.
// Without this script every page works all the same, but has to be reloaded by hand.
"use strict";
(() => {
  // A question that has just come takes no tap that was meant for what was there before.
  const ARMING_MS = 700;
  const find = (selector, from = document) => from.querySelector(selector);
  let deadline = 0, armedAt = 0;

  function tick() {
    const bar = find("progress[data-left-s]");
    if (!bar) return;
    const left = Math.max(0, (deadline - performance.now()) / 1000);
    bar.value = left;
    find("[data-seconds]").textContent = Math.ceil(left);
  }

  function startClock() {
    const bar = find("progress[data-left-s]");
    if (bar) deadline = performance.now() + Number(bar.dataset.leftS) * 1000;
    tick();
  }

  function arm() {
    const left = armedAt - performance.now();
    if (left <= 0) return;
    for (const button of document.querySelectorAll(".answers button:not([data-wait])")) {
      button.disabled = true;
      setTimeout(() => {
        if (find("#lost").hidden) button.disabled = false;
        else button.dataset.lost = "";
      }, left);
    }
  }

  function headline() {
    const question = find("#main [data-payment]");
    return question ? question.dataset.payment + (question.dataset.tone || "") : "";
  }

  // What has been typed or picked stays, wherever the same field is there again.
  function keepTyped(shown, fresh) {
    for (const field of shown.querySelectorAll("input[name]:not([type=hidden]), select[name]")) {
      const name = `[name="${CSS.escape(field.name)}"]`;
      if (field.type === "radio") {
        const same = field.checked && find(`${name}[value="${CSS.escape(field.value)}"]`, fresh);
        if (same) same.checked = true;
      } else if (find(name, fresh) && field.type !== "checkbox" && field.value !== field.defaultValue) {
        find(name, fresh).value = field.value;
      }
    }
  }

  // A piece of the page that changes often comes whole; the focus stays in it.
  function showPart(html) {
    const fresh = new DOMParser().parseFromString(html, "text/html").body.firstElementChild;
    const shown = fresh && document.getElementById(fresh.id);
    if (!shown) return;
    const focused = shown.contains(document.activeElement) && document.activeElement;
    keepTyped(shown, fresh);
    shown.replaceWith(fresh);
    if (focused && focused.value) find(`[value="${CSS.escape(focused.value)}"]`, fresh)?.focus({ preventScroll: true });
    if (fresh.dataset.say !== shown.dataset.say) find("#announce").textContent = fresh.dataset.say || "";
  }

  function show(page) {
    find("#banner")?.replaceWith(find("#banner", page) || "");
    const fresh = find("#main", page), shown = find("#main");
    if (!("live" in shown.dataset) || fresh.dataset.version === shown.dataset.version) return;
    const before = headline(), focused = document.activeElement?.className;
    keepTyped(shown, fresh);
    shown.replaceWith(fresh);
    document.title = page.title;
    startClock();
    const isNew = headline() !== before;
    if (isNew) armedAt = performance.now() + ARMING_MS;
    arm();
    if (isNew) {
      const title = find("h1", fresh);
      find("#announce").textContent = title.innerText + " " + (find(".amount", fresh)?.innerText || "");
      title.focus({ preventScroll: true });
      scrollTo(0, 0);
    } else if (focused) {
      find(`#main .${CSS.escape(focused.split(" ")[0])}`)?.focus({ preventScroll: true });
    }
  }

  // A page that answers a form, to say that it was not taken, is looked at where it is at home.
  async function refresh() {
    const path = find("#main").dataset.at || location.pathname;
    const answer = await fetch(path, { headers: { accept: "text/html" } });
    if (answer.status === 401) return location.reload();
    // Some pages lead on to what is the case now.
    if (answer.redirected) history.replaceState(null, "", answer.url);
    if (answer.ok) show(new DOMParser().parseFromString(await answer.text(), "text/html"));
  }

  function typing() {
    const field = document.activeElement;
    return field && field.matches("input, select, textarea") && field.value !== field.defaultValue;
  }

  // While the agent is away a form would lead to the browser's own page, which never comes back.
  function close() {
    find("#lost").hidden = false;
    for (const button of document.querySelectorAll("main button:not([type=button]):not(:disabled)")) {
      button.disabled = true;
      button.dataset.lost = "";
    }
  }

  function reopen() {
    for (const button of document.querySelectorAll("[data-lost]")) {
      button.disabled = false;
      delete button.dataset.lost;
    }
  }

  function listen() {
    const source = new EventSource("/events");
    const heard = (event) => {
      const wasLost = !find("#lost").hidden;
      find("#lost").hidden = true;
      const page = find("#main").dataset;
      const away = event.type === "asked" && (!("live" in page) || "follow" in page);
      if (away && !typing()) return location.assign("/");
      // What is shown may be of before: nothing is to be pressed until it has been looked at again.
      if (wasLost) refresh().then(reopen).catch(close);
      else if (event.data !== find("#main").dataset.version) refresh().catch(() => {});
    };
    source.addEventListener("asked", heard);
    source.addEventListener("changed", heard);
    source.addEventListener("part", (event) => showPart(event.data));
    source.onerror = () => {
      close();
      if (source.readyState === EventSource.CLOSED) setTimeout(listen, 2000);
    };
  }

  addEventListener("submit", () => {
    // The form has been read by then.
    setTimeout(() => document.querySelectorAll("button").forEach((b) => { b.disabled = true; }), 0);
  });
  addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); });
  startClock();
  setInterval(tick, 250);
  listen();
})();
